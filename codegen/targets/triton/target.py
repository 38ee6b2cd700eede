"""GPUs, and Triton's interpreter: Triton, in which every value of a tile is in registers."""

from __future__ import annotations

from functools import partial

from attn_dsl.codegen.schedule.schedule import Schedule
from attn_dsl.codegen.schedule.search import LEAST_LANES, Candidate, Demand, Shape
from attn_dsl.codegen.targets.machine import Machine
from attn_dsl.codegen.targets.target import Target
from attn_dsl.codegen.targets.triton.emit import emit_module
from attn_dsl.codegen.targets.triton.words import is_reserved
from attn_dsl.ir.dtypes import width

MOST_ELEMENTS = 1 << 20  # of a tensor of Triton's (TRITON_MAX_TENSOR_NUMEL)
# From the table's own to ever smaller tiles, shared by more warps.
REFINEMENTS = (
    Schedule(),
    Schedule(stream_tile=32, num_warps=8, num_stages=2),
    Schedule(row_tile=64, stream_tile=64, num_warps=8, num_stages=2),
    Schedule(row_tile=64, stream_tile=32, num_warps=8, num_stages=2),
    Schedule(row_tile=32, stream_tile=32, num_warps=8, num_stages=1),
    Schedule(row_tile=16, stream_tile=32, num_warps=8, num_stages=1),
    Schedule(row_tile=16, stream_tile=16, num_warps=8, num_stages=1),
    Schedule(row_tile=16, stream_tile=16, num_warps=16, num_stages=1),
)  # fmt: skip


def target(architecture: str) -> Target:
    """That of ``cuda:90``, ``hip:gfx942`` or ``interpreter``."""
    family = architecture.partition(":")[0]
    is_hip, interpreted = family == "hip", family == "interpreter"
    machine = Machine(
        pads=True, widens=False, double_products=False, skips=False, parts=False, threads=64 if is_hip else 32
    )
    return Target(
        machine=machine,
        holder=f"a tensor of Triton's, which has {MOST_ELEMENTS:,} elements at most",
        candidates=partial(candidates, most_stages=2 if is_hip else 16, interpreted=interpreted),
        refinements=() if interpreted else REFINEMENTS,
        limits_registers=family == "cuda",
        reserved=is_reserved,
        emit=partial(emit_module, interpreted=interpreted),
    )


def candidates(demand: Demand, *, most_stages: int, interpreted: bool) -> tuple[Candidate, ...]:
    """The table's tiles; then, for a kernel one of whose products is no matrix product, so that a tile of
    rows x stream x features is held at once, small ones; and where none of its products is, smaller ones."""
    tables = ((16, 16, 4, 1),) * 4 if interpreted else (_table(demand), *[(16, 16, 8, 1)] * 2, (16, 4, 8, 1))
    first, small, beside, least = (_schedule(demand, *step, most_stages=most_stages) for step in tables)
    return (
        Candidate(first, LEAST_LANES, 1, _is_of_matrices),
        Candidate(small, LEAST_LANES, 1, _has_matrices),
        # A stream that shares its lanes with features may have too few left for a product over it alone.
        Candidate(beside, LEAST_LANES, LEAST_LANES, _has_matrices),
        Candidate(least, 1, 1, _is_a_tensor),
    )


def _table(demand: Demand) -> tuple[int, int, int, int]:
    """Rows, lanes of a stream, warps and stages."""
    held = demand.features * width(demand.dtype)
    if held <= 128 * 2:
        return 128, 64, 8, 3 if held <= 128 else 2
    return (64, 32, 8, 2) if held <= 256 * 2 else (32, 32, 8, 2)


def _schedule(
    demand: Demand, rows: int, stream: int, warps: int, stages: int, *, most_stages: int
) -> Schedule:
    """What the user left open, from the table."""
    given = demand.given
    if demand.few_rows:
        rows, warps = LEAST_LANES, min(warps, 4)
    return Schedule(
        given.row_tile or rows, given.stream_tile or stream, given.num_warps or warps,
        given.num_stages or min(stages, most_stages), given.max_registers,
    )  # fmt: skip


def _is_a_tensor(shape: Shape) -> bool:
    return shape.largest <= MOST_ELEMENTS


def _is_of_matrices(shape: Shape) -> bool:
    return _is_a_tensor(shape) and not shape.is_thin and shape.widest <= 2


def _has_matrices(shape: Shape) -> bool:
    return _is_a_tensor(shape) and not shape.is_thin and (shape.widest <= 2 or len(shape.products) > 0)
