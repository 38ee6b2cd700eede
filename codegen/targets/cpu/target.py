"""Processors: C++, in which a tile is an array on a thread's stack."""

from __future__ import annotations

from collections.abc import Callable

from attn_dsl.codegen.schedule.schedule import Schedule
from attn_dsl.codegen.schedule.search import LEAST_LANES, Candidate, Demand, Shape
from attn_dsl.codegen.targets.cpu.emit import emit_module
from attn_dsl.codegen.targets.cpu.footprint import stack_bytes
from attn_dsl.codegen.targets.cpu.words import is_reserved
from attn_dsl.codegen.targets.machine import Machine
from attn_dsl.codegen.targets.target import Target

STACK_BYTES = 1 << 20  # of the order of a second-level cache
MAX_STACK_BYTES = 4 << 20  # half of what a thread has
_TILES = ((64, 64), (64, 32), (32, 32), (32, 16), (16, 16))  # a row of a product fills a vector: 16 lanes


def target(architecture: str) -> Target:
    """The one there is."""
    del architecture
    machine = Machine(pads=False, widens=True, double_products=True, skips=True, parts=True)
    return Target(machine, "a thread's stack", candidates, (), False, is_reserved, emit_module)


def candidates(demand: Demand) -> tuple[Candidate, ...]:
    """Ever smaller tiles, until what a thread holds at once stays near to it; of the smallest, until it fits
    at all."""
    given, steps = demand.given, list[Candidate]()
    for at, (row, stream) in enumerate(_TILES):
        row = LEAST_LANES if demand.few_rows else row
        schedule = Schedule(given.row_tile or row, given.stream_tile or stream, 1, 1)
        most = MAX_STACK_BYTES if at == len(_TILES) - 1 else STACK_BYTES
        steps.append(Candidate(schedule, LEAST_LANES if at < 2 else 1, 1, _holds_at_most(most)))
    return tuple(steps)


def _holds_at_most(most: int) -> Callable[[Shape], bool]:
    return lambda shape: stack_bytes(shape.body, shape.lanes) <= most
