"""From a plan and what it is specialised on to a program: tile programs, printed for the target."""

from __future__ import annotations

from collections.abc import Sequence

from attn_dsl.codegen.lowering.program import LoweredKernel, Lowering, lower
from attn_dsl.codegen.program import Program
from attn_dsl.codegen.schedule import Schedule
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.codegen.targets import target_of
from attn_dsl.planning.plan import ProgramPlan


def generate(
    plan: ProgramPlan, specialisation: Specialisation, schedules: Sequence[Schedule] | None = None
) -> Program:
    """The program of a plan for one specialisation; ``schedules``: one for each kernel, else all have the
    specialisation's. NotLoweredError names what has no kernel yet."""
    lowering = lower(plan, specialisation, schedules)
    texts = [kernel.text for kernel in lowering.kernels]
    source = target_of(specialisation.architecture).emit(lowering.plan, specialisation, texts)
    launches = tuple(kernel.launch for kernel in lowering.kernels)
    return Program(source, launches, lowering.buffers, lowering.contiguous)


__all__ = ["LoweredKernel", "Lowering", "generate", "lower"]
