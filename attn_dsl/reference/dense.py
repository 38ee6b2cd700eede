"""Evaluation of a whole cascade: arguments in, statements in order, results out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from attn_dsl.ir.cascade import Axis, Cascade, Input, Output, Statement
from attn_dsl.ir.dtypes import Kind, dtype_kind, is_float
from attn_dsl.reference.expressions import cast
from attn_dsl.reference.partial import Partial, Scope
from attn_dsl.reference.statements import define, restrict


def evaluate(
    cascade: Cascade,
    params: Mapping[str, int | float | bool],
    arguments: Mapping[str, Tensor | int | float],
    sizes: Mapping[str, int],
    dtype: torch.dtype = torch.float64,
) -> dict[str, Tensor]:
    """What the cascade computes, in the precision of ``dtype``; differentiable, on the arguments' device.

    ``params``: a value for each; ``sizes``: an extent for every index; ``arguments``: laid out as the inputs
    declare, numbers for inputs of rank 0. The results, by name, are laid out by their declaration: reals in
    ``dtype``, integers as int64, of the bits that a declared dtype holds, truth values as bool; 0 where an
    element does not exist.
    """
    tensors: dict[str, Partial] = {}
    scope = Scope(params, sizes, tensors, (), dtype, _device(arguments))
    tensors.update(bind(cascade, arguments, scope))
    for statements in definitions(cascade):
        tensors[statements[0].target] = define(statements, cascade, scope)
    return {output.name: lay_out(output, cascade, scope) for output in cascade.outputs}


def bind(cascade: Cascade, arguments: Mapping[str, Tensor | int | float], scope: Scope) -> dict[str, Partial]:
    """The inputs as partial tensors; ``scope`` gives the sizes and the dtype."""
    tensors = {i.name: Partial(_lifted(i, arguments[i.name], scope)) for i in cascade.inputs}
    scope = replace(scope, tensors=tensors)  # a limit may read an input that is declared later
    return {i.name: restrict(tensors[i.name], i.dims, cascade, scope) for i in cascade.inputs}


def definitions(cascade: Cascade) -> Iterator[tuple[Statement, ...]]:
    """The statements of each computed tensor, where all that they read is defined."""
    last = {statement.target: statement for statement in cascade.statements}
    for statement in cascade.statements:
        if statement is last[statement.target]:
            yield cascade.definitions(statement.target)


def _device(arguments: Mapping[str, Tensor | int | float]) -> torch.device:
    """That of the first tensor of some rank; a scalar may live anywhere."""
    tensors = [a for a in arguments.values() if isinstance(a, Tensor)]
    ranked = [t for t in tensors if t.dim() > 0]
    return next((t.device for t in (*ranked, *tensors)), torch.device("cpu"))


def _lifted(declared: Input, argument: Tensor | float, scope: Scope) -> Tensor:
    """An argument with an axis for each index, in the type that every value of its kind is held in."""
    held = {Kind.REAL: scope.dtype, Kind.BOOLEAN: torch.bool, Kind.INTEGER: torch.int64}
    kind = held[dtype_kind(declared.dtype)]
    value = torch.as_tensor(argument, device=scope.device).to(kind)
    return value.reshape(scope.extents(declared.dims))


def _dims(tensor: str, cascade: Cascade) -> tuple[str, ...]:
    declared = cascade.input(tensor)
    return cascade.definitions(tensor)[0].dims if declared is None else declared.dims


def lay_out(output: Output, cascade: Cascade, scope: Scope) -> Tensor:
    """The result with its axes in the declared order, composites merged; 0 where it does not exist. Of an
    integer, the bits that its declared dtype holds; reals keep the evaluation's precision."""
    dims = _dims(output.name, cascade)
    members = [index for axis in output.axes for index in axis.indices]
    value = scope.tensors[output.name].filled(0).permute([dims.index(m) for m in members])
    value = value.reshape([_extent(axis, scope) for axis in output.axes]).contiguous()
    dtype = output.dtype
    return value if dtype is None or is_float(dtype) else cast(value, dtype, scope.dtype)


def _extent(axis: Axis, scope: Scope) -> int:
    return prod(scope.extents(axis.indices))
