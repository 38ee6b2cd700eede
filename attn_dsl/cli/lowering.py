"""Code generation from the command line: example params and sizes where the caller gives none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Cascade

if TYPE_CHECKING:
    from attn_dsl.codegen.generation import Lowering
    from attn_dsl.codegen.program import Program
    from attn_dsl.codegen.specialisation import Specialisation
    from attn_dsl.planning import ProgramPlan

Params = Mapping[str, int | float | bool]
Presences = tuple[tuple[str, tuple[str, ...]], ...]

FEATURES = 64
_EXAMPLES: dict[str, int | float | bool] = {"int": 16, "float": 1.0, "bool": True}


def example_params(
    cascade: Cascade, given: Mapping[str, int | float | bool] | None = None
) -> dict[str, int | float | bool]:
    """The params' values: given, else the default, else an example of the kind."""
    given = given or {}
    values: dict[str, int | float | bool] = {}
    for param in cascade.params:
        default = _EXAMPLES[param.kind] if param.default is None else param.default
        values[param.name] = given.get(param.name, default)
    return values


def example_program(
    cascade: Cascade,
    params: Mapping[str, int | float | bool] | None = None,
    dtype: str = "bf16",
    sizes: Mapping[str, int] | None = None,
    architecture: str = "cuda:90",
    presences: tuple[tuple[str, tuple[str, ...]], ...] = (),
) -> Program:
    """The kernels of a cascade at example sizes. NotLoweredError names what is in the way."""
    from attn_dsl.codegen import generate

    return generate(*_example(cascade, params, dtype, sizes or {}, architecture, presences))


def example_lowering(
    cascade: Cascade, params: Params | None, dtype: str, sizes: Mapping[str, int], architecture: str,
    presences: Presences,
) -> Lowering:  # fmt: skip
    """The same before they are printed."""
    from attn_dsl.codegen.generation import lower

    return lower(*_example(cascade, params, dtype, sizes, architecture, presences))


def _example(
    cascade: Cascade, params: Params | None, dtype: str, sizes: Mapping[str, int], architecture: str,
    presences: Presences,
) -> tuple[ProgramPlan, Specialisation]:  # fmt: skip
    from attn_dsl.codegen.specialisation import Specialisation
    from attn_dsl.planning import plan

    values = example_params(cascade, params)
    planned = plan(cascade, values, presences, sizes)
    whole = _whole_sizes(cascade, values, planned.whole, sizes)
    specialisation = Specialisation(
        dtypes=tuple((i.name, i.dtype or dtype) for i in cascade.inputs),
        sizes=whole,
        architecture=architecture,
    )
    return planned, specialisation


def _whole_sizes(
    cascade: Cascade,
    params: Mapping[str, int | float | bool],
    whole: tuple[str, ...],
    given: Mapping[str, int],
) -> tuple[tuple[str, int], ...]:
    if all(cascade.index(name).size is None for name in whole):  # the run time's module brings torch: seconds
        return tuple((name, given.get(name, FEATURES)) for name in whole)
    from attn_dsl.runtime.typical import typical_sizes

    return typical_sizes(cascade, params, whole, given)


def slow_spots(cascade: Cascade) -> tuple[Diagnostic, ...]:
    """What makes kernels slower than they need be, as warnings, for a cascade that becomes kernels."""
    from attn_dsl.planning.advice import advice

    return advice(cascade, example_params(cascade))


def gradient_obstacle(cascade: Cascade) -> tuple[Diagnostic, ...] | None:
    """Why a cascade that becomes kernels has no gradient by kernels; None where it has one, or no input for
    one."""
    from attn_dsl.differentiation import backward
    from attn_dsl.differentiation.active import differentiable_inputs
    from attn_dsl.differentiation.memory import pairs_of
    from attn_dsl.planning.binding import bind, launch_params

    if not differentiable_inputs(cascade):
        return None
    at_launch = launch_params(cascade)
    bound = bind(cascade, {n: v for n, v in example_params(cascade).items() if n not in at_launch}, {})
    try:
        passes = backward(bound)
        program = example_program(passes.cascade, presences=passes.presences)
        pairs_of(bound).refuse(program, passes.cascade, {})
    except NotLoweredError as error:
        return error.diagnostics
    return None


def obstacle(cascade: Cascade) -> tuple[Diagnostic, ...] | None:
    """Why a legal cascade does not become kernels yet, as warnings; None where it does."""
    try:
        example_program(cascade)
    except NotLoweredError as error:
        return tuple(replace(d, severity="warning") for d in error.diagnostics)
    return None
