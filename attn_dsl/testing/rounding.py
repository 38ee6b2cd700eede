"""The results of a cascade with a bound on how far a correct kernel's may be from them.

Reductions, by the same analysis as ``measured``. A sum of n terms loses, beside the errors of its terms,

    min(n, 2 √n) u Σ magnitude        u: of the accumulator

The √n is that of independent roundings (Higham and Mary, "A new approach to probabilistic rounding error
analysis", 2019). The k-th partial sum, at most Σ magnitude · k / n for terms of one sign and size, is rounded
with standard deviation u / √3; together that is √n u Σ magnitude / 3, of which the bound is six times.

A product that feeds a sum is taken of operands rounded to the inputs' type, as the design says: P V loses
another 2^-8 Σ P |V| in bf16; Q K, whose operands are inputs already, nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt

import torch
from torch import Tensor

from attn_dsl.ir.cascade import Cascade, Einsum, Ranking, RankingKind, Reduction, Statement
from attn_dsl.reference.dense import bind, definitions, lay_out
from attn_dsl.reference.partial import Partial, Scope
from attn_dsl.reference.statements import define, limited, reduced, space_of
from attn_dsl.testing.contraction import contract
from attn_dsl.testing.measured import UNITS, Measured, Model, measure
from attn_dsl.testing.operands import Operands
from attn_dsl.testing.precision import Precision

Errors = tuple[Tensor, Tensor]
"""A bound on the error, and the magnitude, of every element of a tensor."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """A result in f64, and by how much each element of a correct kernel's may be off, rounding of the result
    to its own type not counted; infinite where that cannot be told."""

    value: Tensor
    error: Tensor


def bounded_results(
    cascade: Cascade,
    params: Mapping[str, int | float | bool],
    arguments: Mapping[str, Tensor],
    sizes: Mapping[str, int],
) -> dict[str, Bounded]:
    """Every result of the cascade, by name, laid out as declared."""
    device = next((a.device for a in arguments.values()), torch.device("cpu"))
    known = _Known({}, {}, {})
    scope = Scope(params, sizes, known.tensors, (), torch.float64, device)
    precision = Precision.of(a.dtype for a in arguments.values())
    model = Model(scope, known.errors, known.magnitudes, precision)
    for name, partial in bind(cascade, arguments, scope).items():
        size = partial.value.to(torch.float64).abs()
        known.add(name, Measured(partial, torch.zeros_like(size), size))
    operands = Operands.of(cascade, arguments, precision)
    for statements in definitions(cascade):
        partial = define(statements, cascade, scope)
        known.add(statements[0].target, Measured(partial, *_errors(statements, cascade, model, operands)))
    beside = model.beside(known.errors)
    return {o.name: Bounded(lay_out(o, cascade, scope), lay_out(o, cascade, beside)) for o in cascade.outputs}


@dataclass(frozen=True, slots=True)
class _Known:
    """The tensors so far."""

    tensors: dict[str, Partial]
    errors: dict[str, Partial]
    magnitudes: dict[str, Partial]

    def add(self, name: str, tensor: Measured) -> None:
        tensor = tensor.settled()
        self.tensors[name] = tensor.partial
        self.errors[name] = Partial(tensor.error)
        self.magnitudes[name] = Partial(tensor.magnitude)


def _errors(statements: Sequence[Statement], cascade: Cascade, model: Model, operands: Operands) -> Errors:
    first = statements[0]
    if isinstance(first, Ranking):
        return _ranking(first, model)
    einsums = [limited(s, cascade) for s in statements if isinstance(s, Einsum)]
    match first.reduce:
        case None:
            element, shape = _element(einsums[0], model), model.scope.extents(first.dims)
            return element.error.expand(shape), element.magnitude.expand(shape)
        case Reduction.SUM:
            return _total([_sum(s, model, operands) for s in einsums], model)
        case Reduction.MEAN:
            error, magnitude = _total([_sum(s, model, operands) for s in einsums], model)
            count = torch.stack([_count(s, model) for s in einsums]).sum(0).clamp(min=1)
            return error / count, magnitude / count
        case Reduction.PRODUCT:
            factors = [_product(s, model) for s in einsums]
            lower, upper = (torch.stack(bounds).prod(0) for bounds in zip(*factors, strict=True))
            return upper - lower, lower
        case (Reduction.MAX | Reduction.MIN | Reduction.ANY | Reduction.ALL) as kind:
            parts = [_extremum(s, kind, model) for s in einsums]
            error, magnitude = (torch.stack(each).amax(0) for each in zip(*parts, strict=True))
            return error, magnitude


def _element(statement: Einsum, model: Model) -> Measured:
    """The right-hand side over the statement's space."""
    model = model.over(space_of(statement))
    guard = None if statement.where is None else measure(statement.where, model)
    return measure(statement.body, model).guarded(guard)


def _reduce(values: Tensor, statement: Einsum, kind: Reduction, model: Model) -> Tensor:
    """Numbers that all exist, reduced as the statement's elements are."""
    return reduced(Partial(values), statement, kind, model.scope).filled(0.0)


def _sum(statement: Einsum, model: Model, operands: Operands) -> Errors:
    found = contract(statement, model.over(space_of(statement)), operands)
    if found is None:
        element = _element(statement, model)
        roundings = operands.roundings(statement.body, statement.over)
        each = element.error + roundings * (
            model.precision.operand * element.magnitude + model.precision.operand_smallest
        )
        if roundings:
            each = torch.where(element.magnitude > model.precision.operand_largest, torch.inf, each)
        error, magnitude = (_reduce(t, statement, Reduction.SUM, model) for t in (each, element.magnitude))
        found = torch.where(_meets_infinity(element, statement, model), torch.inf, error), magnitude
    error, magnitude = found
    terms = prod(model.scope.extents(statement.over))
    lost = (min(terms, 2 * sqrt(terms)) + UNITS) * model.precision.pointwise
    return error + lost * magnitude + model.precision.pointwise_smallest * terms, magnitude


def _meets_infinity(element: Measured, statement: Einsum, model: Model) -> Tensor:
    """Whether a sum has an infinite term, and is NaN: a kernel that takes a factor out of it may find an
    infinity."""
    values = element.partial.filled(0.0).to(torch.float64)
    total, infinite = (
        _reduce(t, statement, Reduction.SUM, model) for t in (values, values.isinf().to(torch.float64))
    )
    return total.isnan() & (infinite > 0)


def _total(parts: Sequence[Errors], model: Model) -> Errors:
    error, magnitude = (torch.stack(each).sum(0) for each in zip(*parts, strict=True))
    error = error + UNITS * model.precision.pointwise * magnitude
    return torch.where(error + magnitude > model.precision.pointwise_largest, torch.inf, error), magnitude


def _count(statement: Einsum, model: Model) -> Tensor:
    element = _element(statement, model).partial
    ones = torch.ones_like(element.value, dtype=torch.float64)
    return reduced(Partial(ones, element.present), statement, Reduction.SUM, model.scope).filled(0.0)


def _product(statement: Einsum, model: Model) -> tuple[Tensor, Tensor]:
    """The magnitude of the product, and that of the product of the largest factors within the errors."""
    element = _element(statement, model)
    magnitude, present = element.magnitude, element.partial.present
    sizes = magnitude if present is None else torch.where(present, magnitude, 1.0)
    rounding = 1 + UNITS * model.precision.pointwise
    lower, upper = (
        _reduce(t, statement, Reduction.PRODUCT, model) for t in (sizes, (sizes + element.error) * rounding)
    )
    return lower, upper


def _extremum(statement: Einsum, kind: Reduction, model: Model) -> Errors:
    """An extremum moves by no more than the elements do."""
    element = _element(statement, model)
    error = _reduce(element.error, statement, Reduction.MAX, model)
    if kind.rule.of_truths:
        return error, torch.ones_like(error)
    return error, _reduce(element.magnitude, statement, Reduction.MAX, model)


def _ranking(statement: Ranking, model: Model) -> Errors:
    """Nothing can be said along a row where the order of two elements, or their masses, is in doubt."""
    space = (*(d for d in statement.dims if d != statement.over), statement.over)
    model = model.over(space)
    guard = None if statement.where is None else measure(statement.where, model)
    body = measure(statement.body, model).guarded(guard)
    shape = model.scope.extents(space)
    doubt = body.error.expand(shape).sum(-1, keepdim=True)
    if statement.kind is not RankingKind.TOPP:
        value = body.partial.filled(torch.nan).to(torch.float64).expand(shape).sort(-1).values
        gaps = torch.nan_to_num(value.diff(dim=-1), nan=torch.inf, posinf=torch.inf)
        close = (gaps <= 2 * doubt).any(-1, keepdim=True)
        doubt = torch.where(close | doubt.isinf(), doubt, 0.0)
    open_ = torch.where(doubt > 0, torch.inf, 0.0)
    if statement.over not in statement.dims:
        return open_[..., 0], torch.ones_like(open_[..., 0])
    error = open_.expand(shape).permute([space.index(d) for d in statement.dims])
    return error, torch.ones_like(error)
