"""Schedules that fit: of a ladder of schedules, the first whose kernels spill no registers.

How many registers a kernel takes is known only once it is compiled, and one that spills is slower than one with
smaller tiles. So where the user leaves the tiles open, a program for a GPU is compiled ahead of time as it is
built, and those of its kernels that spill are built anew with the next schedule. That is done once for each
specialisation: the cache keeps what fitted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import fields, replace
from math import prod
from pathlib import Path

from attn_dsl.codegen import generate
from attn_dsl.codegen.program import Kernel, Program
from attn_dsl.codegen.schedule import Schedule
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.ir.cascade import Cascade
from attn_dsl.runtime.ahead_of_time import lower
from attn_dsl.runtime.cache import Entry

# From the table's own to ever smaller tiles, shared by more warps.
LADDER = (
    Schedule(),
    Schedule(stream_tile=32, num_warps=8, num_stages=2),
    Schedule(row_tile=64, stream_tile=64, num_warps=8, num_stages=2),
    Schedule(row_tile=64, stream_tile=32, num_warps=8, num_stages=2),
    Schedule(row_tile=32, stream_tile=32, num_warps=8, num_stages=1),
    Schedule(row_tile=16, stream_tile=32, num_warps=8, num_stages=1),
    Schedule(row_tile=16, stream_tile=16, num_warps=8, num_stages=1),
    Schedule(row_tile=16, stream_tile=16, num_warps=16, num_stages=1),
)  # fmt: skip


def fitted(cascade: Cascade, specialisation: Specialisation) -> Program:
    """The program in which every kernel has the first schedule of the ladder with which it spills nothing, else the
    one with which it spills least.

    What the user's schedule fixes stays. Raises what ``generate`` and ``lower`` raise.
    """
    steps = tuple(dict.fromkeys(_over(specialisation.schedule, step) for step in LADDER))
    program = generate(cascade, replace(specialisation, schedule=steps[0]))
    first = [_lanes(kernel) for kernel in program.kernels]
    best = [(spilled, 0) for spilled in _spilled_bytes(program, range(len(first)), specialisation)]
    for at in range(1, len(steps)):
        open_kernels = [k for k, (spilled, _) in enumerate(best) if spilled]
        if not open_kernels:
            break
        schedules = [steps[at if k in open_kernels else step] for k, (_, step) in enumerate(best)]
        program = generate(cascade, specialisation, schedules)
        # Tiles that were too large at first are not made larger.
        tried = [k for k in open_kernels if _lanes(program.kernels[k]) <= first[k]]
        for k, spilled in zip(tried, _spilled_bytes(program, tried, specialisation), strict=True):
            best[k] = min(best[k], (spilled, at))
    return generate(cascade, specialisation, [steps[step] for _, step in best])


def _over(given: Schedule, step: Schedule) -> Schedule:
    """The given schedule, its open fields as in the step."""
    values = {f.name: getattr(given, f.name) for f in fields(Schedule)}
    return replace(step, **{name: value for name, value in values.items() if value is not None})


def _lanes(kernel: Kernel) -> int:
    """The lanes of a tile over everything the kernel tiles."""
    return prod(n for _, n in kernel.constants)


def _spilled_bytes(program: Program, kernels: Sequence[int], specialisation: Specialisation) -> list[int]:
    """What each of the kernels spills, in order."""
    chosen = replace(program, kernels=tuple(program.kernels[k] for k in kernels))
    with tempfile.TemporaryDirectory(prefix="attn_dsl_") as folder:
        source = Path(folder) / "kernels.py"
        source.write_text(program.source, encoding="utf-8")
        return [kernel.spilled_bytes for kernel in lower(Entry(chosen, source), specialisation.architecture)]
