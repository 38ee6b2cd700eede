"""Schedules that fit: of the refinements of a target, the first whose kernels spill no registers.

How many registers a kernel takes is known only once it is compiled, and one that spills is slower than one
with smaller tiles. So where the user leaves the tiles open, a program for a GPU is compiled ahead of time as
it is built, and those of its kernels that spill are built anew with the next schedule. That is done once for
each specialisation: the cache keeps what fitted.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import prod
from pathlib import Path

from attn_dsl.codegen import generate
from attn_dsl.codegen.program import Kernel, Program
from attn_dsl.codegen.schedule import Schedule
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.codegen.targets import target_of
from attn_dsl.errors import TargetError
from attn_dsl.planning import ProgramPlan
from attn_dsl.runtime.ahead_of_time import KernelResources, lower
from attn_dsl.runtime.cache import Entry


@dataclass(frozen=True, slots=True)
class _Fit:
    """A kernel under a schedule: what it takes, or what the compiler said when it refused."""

    schedule: Schedule
    lanes: int
    resources: KernelResources | TargetError

    @property
    def spilled(self) -> int:
        """Bytes a thread; of what cannot be compiled, more than any other."""
        return sys.maxsize if isinstance(self.resources, TargetError) else self.resources.spilled_bytes

    def with_all_registers(self) -> Schedule | None:
        """The schedule for a kernel that spills although a thread could have more registers, else None: ptxas
        spills a few where that lets twice the programs onto a processor."""
        if isinstance(self.resources, TargetError):
            return None
        most = min(255, 65536 // (32 * self.resources.num_warps))
        held = self.spilled > 0 and self.resources.registers < most and self.schedule.max_registers is None
        can_be_told = target_of(self.resources.architecture).limits_registers
        return replace(self.schedule, max_registers=most) if held and can_be_told else None


def fitted(plan: ProgramPlan, specialisation: Specialisation) -> Program:
    """The program in which every kernel has the first of its target's refinements with which it spills
    nothing, else the one with which it spills least. A schedule with which the compiler fails is passed over.

    What the user's schedule fixes stays. Raises what ``generate`` and ``lower`` raise.
    """
    refinements = target_of(specialisation.architecture).refinements
    steps = tuple(dict.fromkeys(_over(specialisation.schedule, step) for step in refinements))
    program = generate(plan, replace(specialisation, schedule=steps[0]))
    best = first = _fits(program, dict.fromkeys(range(len(program.kernels)), steps[0]), specialisation)

    def tried(schedules: Mapping[int, Schedule]) -> dict[int, _Fit]:
        """Each of these kernels with its schedule, but where its tiles would be larger than at first."""
        if not schedules:
            return {}
        chosen = [schedules.get(k, fit.schedule) for k, fit in best.items()]
        program = generate(plan, specialisation, chosen)
        smaller = {k: s for k, s in schedules.items() if _lanes(program.kernels[k]) <= first[k].lanes}
        return _fits(program, smaller, specialisation)

    for step in steps:
        spilling = [k for k, fit in best.items() if fit.spilled]
        found = best if step == steps[0] else tried(dict.fromkeys(spilling, step))
        roomier = {k: s for k, fit in found.items() if (s := fit.with_all_registers()) is not None}
        for fits in (found, tried(roomier)):
            best = best | {k: fit for k, fit in fits.items() if fit.spilled < best[k].spilled}
    for fit in best.values():
        if isinstance(fit.resources, TargetError):
            raise fit.resources
    return generate(plan, specialisation, [fit.schedule for fit in best.values()])


def _over(given: Schedule, step: Schedule) -> Schedule:
    """The given schedule, its open fields as in the step."""
    values = {f.name: getattr(given, f.name) for f in fields(Schedule)}
    return replace(step, **{name: value for name, value in values.items() if value is not None})


def _lanes(kernel: Kernel) -> int:
    """The lanes of a tile over everything the kernel tiles."""
    return prod(n for _, n in kernel.constants)


def _fits(
    program: Program, schedules: Mapping[int, Schedule], specialisation: Specialisation
) -> dict[int, _Fit]:
    """What these kernels of a program take, which was generated with these schedules for them."""
    with tempfile.TemporaryDirectory(prefix="attn_dsl_") as folder:
        source = Path(folder) / "kernels.py"
        source.write_text(program.source, encoding="utf-8")

        def taken(kernel: Kernel) -> KernelResources | TargetError:
            try:
                (found,) = lower(
                    Entry(replace(program, kernels=(kernel,)), source), specialisation.architecture
                )
            except TargetError as error:  # a compiler may fail at some tiles and not at others
                return error
            return found

        kernels = {k: program.kernels[k] for k in schedules}
        return {k: _Fit(schedules[k], _lanes(kernel), taken(kernel)) for k, kernel in kernels.items()}
