"""Code generation from the command line: example params and sizes where the caller gives none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Cascade, Index
from attn_dsl.ir.expr import Expr, SizeOf
from attn_dsl.ir.walk import walk

if TYPE_CHECKING:
    from attn_dsl.codegen.program import Program

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
) -> Program:
    """The kernels of a cascade at example sizes. NotLoweredError names what is in the way."""
    from attn_dsl.codegen import generate, whole_indices
    from attn_dsl.codegen.specialisation import Specialisation

    values = example_params(cascade, params)
    whole = {name: _extent(cascade.index(name), values, sizes or {}) for name in whole_indices(cascade)}
    specialisation = Specialisation(
        params=tuple(values.items()),
        dtypes=tuple((i.name, i.dtype or dtype) for i in cascade.inputs),
        sizes=tuple(whole.items()),
        architecture=architecture,
    )
    return generate(cascade, specialisation)


def _extent(index: Index, params: Mapping[str, int | float | bool], sizes: Mapping[str, int]) -> int:
    """The size given or declared, else an example."""
    if index.name in sizes:
        return sizes[index.name]
    if index.size is None:
        return FEATURES
    from attn_dsl.cli.random_inputs import declared_size

    return declared_size(index.size, params, {n: sizes.get(n, FEATURES) for n in _sizes_in(index.size)})


def _sizes_in(expr: Expr) -> set[str]:
    return {node.index for node in walk(expr) if isinstance(node, SizeOf)}


def obstacle(cascade: Cascade) -> tuple[Diagnostic, ...] | None:
    """Why a legal cascade does not become kernels yet, as warnings; None where it does."""
    try:
        example_program(cascade)
    except NotLoweredError as error:
        return tuple(replace(d, severity="warning") for d in error.diagnostics)
    return None
