"""Schedules that fit: of a ladder of schedules, the first whose kernels spill no registers.

How many registers a kernel takes is known only once it is compiled, and one that spills is slower than one with
smaller tiles. So where the user leaves the tiles open, a program for a GPU is compiled ahead of time as it is
built, and built anew with the next schedule while it spills. That is done once for each specialisation: the cache
keeps what fitted.
"""

from __future__ import annotations

import tempfile
from dataclasses import fields, replace
from math import prod
from pathlib import Path

from attn_dsl.codegen import generate
from attn_dsl.codegen.program import Program
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
    Schedule(row_tile=16, stream_tile=16, num_warps=16, num_stages=1),
)  # fmt: skip


def fitted(cascade: Cascade, specialisation: Specialisation) -> Program:
    """The program with the first schedule of the ladder that spills nothing, else the one that spills least.

    What the user's schedule fixes stays. Raises what ``generate`` and ``lower`` raise.
    """
    best: Program | None = None
    least = first = 0
    for schedule in dict.fromkeys(_over(specialisation.schedule, step) for step in LADDER):
        program = generate(cascade, replace(specialisation, schedule=schedule))
        first = first or _lanes(program)
        if _lanes(program) > first:  # tiles that were too large at first are not made larger
            continue
        spilled = _spilled_bytes(program, specialisation.architecture)
        if best is None or spilled < least:
            best, least = program, spilled
        if spilled == 0:
            break
    assert best is not None
    return best


def _over(given: Schedule, step: Schedule) -> Schedule:
    """The given schedule, its open fields as in the step."""
    values = {f.name: getattr(given, f.name) for f in fields(Schedule)}
    return replace(step, **{name: value for name, value in values.items() if value is not None})


def _lanes(program: Program) -> int:
    """The lanes of the largest tile, all axes taken together."""
    return max(prod(n for _, n in kernel.constants) for kernel in program.kernels)


def _spilled_bytes(program: Program, architecture: str) -> int:
    with tempfile.TemporaryDirectory(prefix="attn_dsl_") as folder:
        source = Path(folder) / "kernels.py"
        source.write_text(program.source, encoding="utf-8")
        return sum(kernel.spilled_bytes for kernel in lower(Entry(program, source), architecture))
