"""Expressions with a bound on the error a kernel makes: running error analysis (Wilkinson; Higham, "Accuracy
and Stability of Numerical Algorithms", §3.3).

Beside its value every element has an ``error``, by how much a kernel's value may differ from it, and a
``magnitude``, its value if every subtraction were an addition. An operation f computes

    f(a(1 + δ), ...)(1 + ε)       |δ|, |ε| a few units of roundoff, δ = 0 but for functions such as exp

from operands that are off by their errors, so its error is the largest change of f over the corners of that
box, and a few units of its magnitude. The magnitude, not the value, because a compiler may reorder and
distribute sums: (a - b) c may be computed as a c - b c, whose rounding errors do not cancel where the values
do.

What depends on a comparison that rounding may decide either way has an infinite error: nothing can be said
about it. A truth value's error is 1 where it may be either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import TypeAlias

import torch
from torch import Tensor

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
from attn_dsl.ir.operators import OPERATORS, Cost, Operator
from attn_dsl.reference.expressions import cast, evaluate_expression
from attn_dsl.reference.operators import apply
from attn_dsl.reference.partial import Partial, Scope, both, truth
from attn_dsl.reference.reading import read
from attn_dsl.testing.precision import Precision

# Units of roundoff that one operation may lose, and that a function may lose in its argument: ex2, sin and
# the like are a few units off on a GPU, and exp is computed as exp2 of a rounded product.
UNITS = 4
Sized: TypeAlias = tuple[Tensor, Tensor]
"""A value, and the size of what it is made of."""
_INEXACT = frozenset(o.name for o in OPERATORS.values() if o.cost is Cost.CALL) - {"uniform"}  # of integers


def _is_product(operator: Operator) -> bool:
    if operator.formula is None:
        return False
    formula = operator.formula(*(IndexVar(str(n)) for n in range(operator.min_args)))
    return isinstance(formula, Op) and formula.name == "mul"


_PRODUCTS = frozenset(o.name for o in OPERATORS.values() if _is_product(o))


@dataclass(frozen=True, slots=True)
class Measured:
    """A partial value, and beside it a bound on its error, 0 where it does not exist, and its magnitude."""

    partial: Partial
    error: Tensor
    magnitude: Tensor

    def guarded(self, guard: Measured | None) -> Measured:
        """Existing only where a predicate is certain; of unknown value where rounding may decide that."""
        if guard is None:
            return self
        open_ = torch.where(guard.error > 0, torch.inf, 0.0)
        partial = self.partial.within(guard.partial.certainly())
        return Measured(partial, self.error + open_, self.magnitude).settled()

    def settled(self) -> Measured:
        """Nothing where there is no value, but for what is not known."""
        error, magnitude = torch.nan_to_num(self.error, nan=torch.inf, posinf=torch.inf), self.magnitude
        magnitude = torch.nan_to_num(magnitude, nan=0.0, posinf=0.0)
        if self.partial.present is not None:
            error = torch.where(self.partial.present | error.isinf(), error, 0.0)
            magnitude = torch.where(self.partial.present, magnitude, 0.0)
        return Measured(self.partial, error, magnitude)


@dataclass(frozen=True, slots=True)
class Model:
    """The names an expression may use, with what is known of their error, and how a kernel computes."""

    scope: Scope
    errors: Mapping[str, Partial]
    magnitudes: Mapping[str, Partial]
    precision: Precision

    def over(self, space: tuple[str, ...]) -> Model:
        """The same names over another space."""
        return replace(self, scope=self.scope.over(space))

    def beside(self, tensors: Mapping[str, Partial]) -> Scope:
        """The scope, with other values under the tensors' names."""
        return replace(self.scope, tensors=tensors)


def measure(expr: Expr, model: Model) -> Measured:
    """The value, error and magnitude of an expression at every point of the space."""
    match expr:
        case Const() | ParamRef() | SizeOf() | IndexVar():
            return _leaf(expr, model)
        case Read():
            return _read(expr, model)
        case Op(name="and" | "or" | "not"):
            return _logic(expr, model)
        case Op(name="present", args=(operand,)):
            partial = evaluate_expression(expr, model.scope)
            unsure = measure(operand, model).error.isinf()  # rounding may decide whether it exists
            return Measured(partial, torch.where(unsure, 1.0, 0.0), _size(partial))
        case Op():
            return _operation(expr.name, [measure(a, model) for a in expr.args], model)
        case Select():
            return _select(expr, model)
        case Default():
            return _default(expr, model)
        case Member(element=element):
            partial = evaluate_expression(expr, model.scope)
            return Measured(partial, _if_open(measure(element, model).error), _size(partial))
        case Cast(dtype=dtype, value=value):
            return _cast(measure(value, model), dtype, model)
        case Detach(value=value):
            return measure(value, model)


def _size(partial: Partial) -> Tensor:
    return partial.value.to(torch.float64).abs()


def _if_open(error: Tensor) -> Tensor:
    """Infinite where there is any error."""
    return torch.where(error > 0, torch.inf, 0.0)


def _leaf(expr: Expr, model: Model) -> Measured:
    partial = evaluate_expression(expr, model.scope)
    size = _size(partial)
    rounding = model.precision.pointwise if partial.value.is_floating_point() else 0.0
    return Measured(partial, torch.nan_to_num(size * rounding, posinf=0.0), size).settled()


def _read(expr: Read, model: Model) -> Measured:
    places = [measure(e, model) for e in expr.indices]
    slots = [p.partial for p in places]
    partial = read(expr.tensor, expr.indices, slots, model.scope)
    error = read(expr.tensor, expr.indices, slots, model.beside(model.errors)).filled(0.0)
    for place in places:
        error = error + _if_open(place.error)
    magnitude = read(expr.tensor, expr.indices, slots, model.beside(model.magnitudes)).filled(0.0)
    return Measured(partial, error, magnitude).settled()


def _logic(expr: Op, model: Model) -> Measured:
    partial = evaluate_expression(expr, model.scope)
    args = [measure(a, model) for a in expr.args]
    error = reduce(torch.maximum, (a.error for a in args))
    if expr.name != "not":
        deciding = [_certain(a, expr.name == "or") for a in args]
        error = torch.where(reduce(torch.logical_or, deciding), 0.0, error)
    return Measured(partial, error, _size(partial)).settled()


def _certain(arg: Measured, outcome: bool) -> Tensor:
    value = truth(arg.partial.value)
    known = Partial(value if outcome else ~value, arg.partial.present).certainly()
    return known & (arg.error == 0)


def _operation(name: str, args: Sequence[Measured], model: Model) -> Measured:
    values = [a.partial.value for a in args]
    present = reduce(both, (a.partial.present for a in args))
    result = apply(name, values, model.scope.dtype)
    magnitude = _magnitude(name, [(a.partial.value, a.magnitude) for a in args], result, model.scope.dtype)
    error = spread(name, args, result, model)
    if result.is_floating_point():
        # x sigmoid(x), x erf(x): what underflows in the second factor is multiplied by the first.
        inner = 1 + args[0].magnitude if name in _PRODUCTS else 1
        error = (
            error + UNITS * model.precision.pointwise * magnitude + model.precision.pointwise_smallest * inner
        )
        over = result.isfinite() & (result.abs() + error > model.precision.pointwise_largest)
        error = torch.where(over, torch.inf, error)
        error = torch.where(result.isfinite() | error.isinf(), error, 0.0)
    error = error if present is None else torch.where(present, error, 0.0)
    for arg in args:
        error = torch.where(arg.error.isinf(), torch.inf, error)
    return Measured(Partial(result, present), error, magnitude).settled()


def _magnitude(name: str, args: Sequence[Sized], result: Tensor, real: torch.dtype) -> Tensor:
    """What is rounded on the way to a result: of a sum, the sizes of its terms. Of a function, what its
    formula makes: gelu, far below 0, is nothing but the rounding of its 1 + erf(x)."""
    sizes = [size for _, size in args]
    match name:
        case "add" | "sub":
            return sizes[0] + sizes[1]
        case "mul":
            return sizes[0] * sizes[1]
        case "div":
            return sizes[0] / args[1][0].to(torch.float64).abs()
        case "neg":
            return sizes[0]
        case _ if result.is_floating_point() and OPERATORS[name].formula is not None:
            known = OPERATORS[name]
            return known.by_formula(args, lambda n, a: _sized(n, a, real), lambda v: _constant(v, result))[1]
        case _:
            return result.to(torch.float64).abs()


def _sized(name: str, args: Sequence[Sized], real: torch.dtype) -> Sized:
    value = apply(name, [value for value, _ in args], real)
    return value, _magnitude(name, args, value, real)


def _constant(number: float, like: Tensor) -> Sized:
    value = torch.full((), number, dtype=like.dtype, device=like.device)
    return value, value.to(torch.float64).abs()


def spread(name: str, args: Sequence[Measured], result: Tensor, model: Model) -> Tensor:
    """The largest change of the result when the arguments are off by their errors."""
    errors = [a.error for a in args]
    if name in _INEXACT:
        slack = UNITS * model.precision.pointwise
        errors = [e + torch.nan_to_num(slack * _size(a.partial)) for e, a in zip(errors, args, strict=True)]
    moving = [k for k, e in enumerate(errors) if bool((e > 0).any())]
    if not moving:
        return torch.zeros_like(result, dtype=torch.float64)
    if len(args) > 2:  # min, max and clamp change by no more than their arguments do
        return reduce(torch.add, errors)
    if name in ("eq", "ne"):
        gap = args[0].partial.value.to(torch.float64) - args[1].partial.value
        reach = errors[0] + errors[1]
        return ((gap.abs() <= reach) & (reach > 0)).to(torch.float64)
    largest = _over_corners(name, args, errors, moving, result, model)
    if name in ("div", "floordiv", "mod"):  # of a divisor that may be 0, the corners say nothing
        near = (errors[1] > 0) & (_size(args[1].partial) <= errors[1])
        largest = torch.where(near, torch.inf, largest)
    return largest


def _over_corners(
    name: str,
    args: Sequence[Measured],
    errors: Sequence[Tensor],
    moving: Sequence[int],
    result: Tensor,
    model: Model,
) -> Tensor:
    values = [a.partial.value for a in args]
    if name == "pow" and not values[1].is_floating_point():
        # An integer power of a negative base, which a real power near it is not.
        values[0], result = values[0].abs(), result.abs()
    largest = torch.zeros_like(result, dtype=torch.float64)
    for signs in product((-1.0, 1.0), repeat=len(moving)):
        moved = list(values)
        for k, sign in zip(moving, signs, strict=True):
            moved[k] = moved[k].to(model.scope.dtype) + sign * errors[k]
        largest = torch.maximum(largest, change(apply(name, moved, model.scope.dtype), result))
    return largest


def change(moved: Tensor, value: Tensor) -> Tensor:
    """How far two values are apart: 0 for the same infinity or for two NaN, infinite for one NaN."""
    moved, value = moved.to(torch.float64), value.to(torch.float64)
    same = (moved == value) | (moved.isnan() & value.isnan())
    return torch.nan_to_num(torch.where(same, 0.0, (moved - value).abs()), nan=torch.inf, posinf=torch.inf)


def _select(expr: Select, model: Model) -> Measured:
    partial = evaluate_expression(expr, model.scope)
    condition, then, otherwise = (measure(e, model) for e in (expr.condition, expr.then, expr.otherwise))
    taken = truth(condition.partial.value)
    error = torch.where(taken, then.error, otherwise.error)
    either = change(then.partial.value, otherwise.partial.value) + torch.maximum(then.error, otherwise.error)
    if then.partial.present is not None or otherwise.partial.present is not None:
        either = torch.full_like(either, torch.inf)
    error = torch.where(condition.error > 0, either, error)
    return Measured(partial, error, torch.where(taken, then.magnitude, otherwise.magnitude)).settled()


def _default(expr: Default, model: Model) -> Measured:
    value = measure(expr.value, model)
    if value.partial.present is None:
        return value
    fallback = measure(expr.fallback, model)
    partial = evaluate_expression(expr, model.scope)
    error = torch.where(value.partial.present | value.error.isinf(), value.error, fallback.error)
    magnitude = torch.where(value.partial.present, value.magnitude, fallback.magnitude)
    return Measured(partial, error, magnitude).settled()


def _cast(value: Measured, dtype: str, model: Model) -> Measured:
    real = model.scope.dtype
    result = cast(value.partial.value, dtype, real)
    error = torch.zeros_like(result, dtype=torch.float64)
    for sign in (-1.0, 1.0):
        moved = cast(value.partial.value.to(real) + sign * value.error, dtype, real)
        error = torch.maximum(error, change(moved, result))
    error = torch.where(value.error > 0, error, 0.0)
    error = torch.where(value.error.isinf(), torch.inf, error)
    size = result.to(torch.float64).abs()
    return Measured(Partial(result, value.partial.present), error, size).settled()
