"""Scalar expressions over a space: a partial tensor for each.

``live`` marks the elements that can matter: those a guard keeps, the side a conditional takes. Values do not
depend on it. Gradients do: where an argument is absent or not live, a 1 that carries no gradient stands in,
so that ``log(x) if x > 0 else 0`` does not send back 0 * inf = NaN.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from attn_dsl.ir.cascade import anonymous_index
from attn_dsl.ir.dtypes import DTYPES
from attn_dsl.ir.expr import (
    Cast,
    Const,
    Default,
    Detach,
    Expr,
    IndexVar,
    Member,
    Op,
    ParamRef,
    Read,
    Select,
    SizeOf,
)
from attn_dsl.reference.operators import LINEAR, apply
from attn_dsl.reference.partial import Partial, Scope, both, truth
from attn_dsl.reference.reading import read

_TORCH: dict[str, torch.dtype] = {name: getattr(torch, row.torch) for name, row in DTYPES.items()}


def evaluate_expression(expr: Expr, scope: Scope, live: Tensor | None = None) -> Partial:
    """The value of an expression at every point of the space."""
    match expr:
        case Const() | ParamRef() | SizeOf() | IndexVar():
            return Partial(_leaf(expr, scope))
        case Read(tensor=tensor, indices=indices):
            return read(tensor, indices, [evaluate_expression(e, scope) for e in indices], scope)
        case Op(name="and" | "or" | "not"):
            return _logic(expr, scope)
        case Op(name="present", args=(operand,)):
            return Partial(_presence(evaluate_expression(operand, scope)))
        case Op():
            return _operation(expr, scope, live)
        case Select():
            return _select(expr, scope, live)
        case Default():
            return _default(expr, scope, live)
        case Member():
            return _member(expr, scope)
        case Cast(dtype=dtype, value=value):
            operand = evaluate_expression(value, scope, live)
            return Partial(cast(operand.value, dtype, scope.dtype), operand.present)
        case Detach(value=value):
            operand = evaluate_expression(value, scope)
            return Partial(operand.value.detach(), operand.present)


def _leaf(expr: Const | ParamRef | SizeOf | IndexVar, scope: Scope) -> Tensor:
    match expr:
        case Const(value=value):
            return scope.constant(value)
        case ParamRef(name=name):
            return scope.constant(scope.params[name])
        case SizeOf(index=index):
            return scope.constant(scope.sizes[index])
        case IndexVar(name=name):
            return scope.counting(name)


def _operation(expr: Op, scope: Scope, live: Tensor | None) -> Partial:
    args = [evaluate_expression(a, scope, live) for a in expr.args]
    present = reduce(both, (a.present for a in args))
    needed = both(present, live)
    values = [a.value if expr.name in LINEAR else _stand_in(a.value, needed) for a in args]
    return Partial(apply(expr.name, values, scope.dtype), present)


def _stand_in(value: Tensor, needed: Tensor | None) -> Tensor:
    if needed is None or not value.requires_grad:
        return value
    return torch.where(needed, value, torch.ones((), dtype=value.dtype, device=value.device))


def _logic(expr: Op, scope: Scope) -> Partial:
    """Kleene's three-valued logic, the third value being absence: what decides alone, decides."""
    args = [evaluate_expression(a, scope) for a in expr.args]
    if expr.name == "not":
        return Partial(~truth(args[0].value), args[0].present)
    combine = torch.logical_and if expr.name == "and" else torch.logical_or
    value = reduce(combine, (truth(a.value) for a in args))
    present = reduce(both, (a.present for a in args))
    if present is None:
        return Partial(value)
    settles = expr.name == "or"
    decided = reduce(torch.logical_or, (_certainly(a, settles) for a in args))
    return Partial(torch.where(decided, settles, value), present | decided)


def _certainly(predicate: Partial, outcome: bool) -> Tensor:
    value = truth(predicate.value)
    return Partial(value if outcome else ~value, predicate.present).certainly()


def _select(expr: Select, scope: Scope, live: Tensor | None) -> Partial:
    condition = evaluate_expression(expr.condition, scope)
    taken = truth(condition.value)
    then = evaluate_expression(expr.then, scope, both(live, taken))
    otherwise = evaluate_expression(expr.otherwise, scope, both(live, ~taken))
    value = torch.where(taken, then.value, otherwise.value)
    if then.present is None and otherwise.present is None:
        return Partial(value, condition.present)
    present = torch.where(taken, _presence(then), _presence(otherwise))
    return Partial(value, both(condition.present, present))


def _presence(partial: Partial) -> Tensor:
    if partial.present is not None:
        return partial.present
    return torch.ones([1] * partial.value.dim(), dtype=torch.bool, device=partial.value.device)


def _default(expr: Default, scope: Scope, live: Tensor | None) -> Partial:
    value = evaluate_expression(expr.value, scope, live)
    if value.present is None:
        return value
    fallback = evaluate_expression(expr.fallback, scope, both(live, ~value.present))
    present = None if fallback.present is None else value.present | fallback.present
    return Partial(torch.where(value.present, value.value, fallback.value), present)


def _member(expr: Member, scope: Scope) -> Partial:
    """Whether some existing entry equals the element; no entry, no member. One entry at a time, for
    memory."""
    element = evaluate_expression(expr.element, scope)
    slot = expr.indices.index(None)
    entry = anonymous_index(expr.tensor, slot)
    extent = scope.tensors[expr.tensor].value.shape[slot]
    inner = scope.with_axis(entry, extent)
    indices = tuple(IndexVar(entry) if e is None else e for e in expr.indices)
    entries = read(expr.tensor, indices, [evaluate_expression(e, inner) for e in indices], inner)
    found = torch.zeros([1] * len(scope.space), dtype=torch.bool, device=scope.device)
    for k in range(extent):
        equal = element.value == entries.value[..., k]
        found = found | (equal if entries.present is None else equal & entries.present[..., k])
    return Partial(found, element.present)


def cast(value: Tensor, dtype: str, real: torch.dtype) -> Tensor:
    """Round to the dtype, then hold the result as every value of its kind is held."""
    kind = _TORCH[dtype]
    if value.dtype == kind:
        return value
    if value.is_floating_point() and kind.is_floating_point:
        return _Rounded.apply(value, kind)  # type: ignore[no-any-return]
    rounded = _cut(value, kind) if value.is_floating_point() else value.to(kind)
    if rounded.is_floating_point():
        return rounded.to(real)
    return rounded if kind == torch.bool else rounded.to(torch.int64)


def _cut(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Towards zero; what the type does not hold becomes the nearest that it holds, and NaN 0."""
    if dtype == torch.bool:
        return value != 0
    limits = torch.iinfo(dtype)
    above, below = value >= float(limits.max) + 1, value <= float(limits.min) - 1
    inside = torch.where(above | below | value.isnan(), 0, value).to(torch.int64)
    return torch.where(above, limits.max, torch.where(below, limits.min, inside)).to(dtype)


class _Rounded(torch.autograd.Function):
    """Rounding, whose derivative is 1. torch's own rounds the derivative to the dtype as well, which is no
    part of it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, dtype: torch.dtype) -> Tensor:
        return value.to(dtype).to(value.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return tangents[0].clone()
