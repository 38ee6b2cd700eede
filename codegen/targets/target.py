"""A target: all that code generation asks of what it generates for, as one value.

A new one is a folder that makes such a value, and its line in ``targets/__init__.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attn_dsl.codegen.kernel_text import KernelText
from attn_dsl.codegen.schedule.schedule import Schedule
from attn_dsl.codegen.schedule.search import Candidate, Demand
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.codegen.targets.machine import Machine
from attn_dsl.planning.plan import ProgramPlan


@dataclass(frozen=True, slots=True)
class Target:
    """``holder``: what a tile must fit in, in words; ``candidates``: how a kernel may be cut into tiles, the best first. ``refinements``: what else to try
    where one is found, once compiled, to spill registers. ``limits_registers``: whether its compiler can be
    told how many a thread may take. ``reserved``: whether a name is a word of the language it prints;
    ``emit``: a program as source text."""

    machine: Machine
    holder: str
    candidates: Callable[[Demand], tuple[Candidate, ...]]
    refinements: tuple[Schedule, ...]
    limits_registers: bool
    reserved: Callable[[str], bool]
    emit: Callable[[ProgramPlan, Specialisation, Sequence[KernelText]], str]


__all__ = ["Target"]
