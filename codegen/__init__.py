"""Plan to program to source."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attn_dsl.codegen.program import Program
    from attn_dsl.codegen.schedule import Schedule
    from attn_dsl.codegen.specialisation import Specialisation
    from attn_dsl.planning import ProgramPlan


def generate(
    plan: ProgramPlan, specialisation: Specialisation, schedules: Sequence[Schedule] | None = None
) -> Program:
    """The program of a plan for one specialisation; ``schedules``: one for each kernel, else all have the
    specialisation's. NotLoweredError names what has no kernel yet."""
    from attn_dsl.codegen.generation import generate as run

    return run(plan, specialisation, schedules)
