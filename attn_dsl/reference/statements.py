"""One tensor from the statements that define it.

T[dims] (op)= body where guard      reduce the body over the space (dims, over)
T[e, b] (op)= body where guard      send each element of the space to place (e, b)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from math import prod

import torch

from attn_dsl.ir.cascade import Cascade, Einsum, Ranking, Reduction, Statement
from attn_dsl.ir.expr import Expr, IndexVar, Op
from attn_dsl.ir.walk import index_names
from attn_dsl.reference.contraction import contract
from attn_dsl.reference.expressions import evaluate_expression
from attn_dsl.reference.partial import Partial, Scope, both
from attn_dsl.reference.ranking import rank
from attn_dsl.reference.reductions import merge, reduce_axes, scatter


def define(statements: Sequence[Statement], cascade: Cascade, scope: Scope) -> Partial:
    """The tensor that all these statements define together, over their target's dims."""
    first = statements[0]
    if isinstance(first, Ranking):
        guard = _conjunction(_limits(first.dims, cascade), first.where)
        result = rank(replace(first, where=guard), scope)
    else:
        result = _einsums([limited(s, cascade) for s in statements if isinstance(s, Einsum)], scope)
    return restrict(result, first.dims, cascade, scope)


def restrict(tensor: Partial, dims: tuple[str, ...], cascade: Cascade, scope: Scope) -> Partial:
    """Without the elements beyond a data-dependent extent."""
    limit = _limits(dims, cascade)
    if limit is None:
        return tensor
    inside = evaluate_expression(limit, scope.over(dims)).certainly()
    return tensor.within(inside).expand(scope.extents(dims))


def limited(statement: Einsum, cascade: Cascade) -> Einsum:
    """The statement with the data-dependent extents of its indices in its guard."""
    return replace(statement, where=_conjunction(_limits(space_of(statement), cascade), statement.where))


def _limits(space: tuple[str, ...], cascade: Cascade) -> Expr | None:
    """The predicate that every index of the space is below its limit, where the space can tell."""
    limits = (
        Op("lt", (IndexVar(index.name), index.limit))
        for index in cascade.indices
        if index.name in space and index.limit is not None and set(index_names(index.limit)) <= set(space)
    )
    return reduce(_conjunction, limits, None)


def _conjunction(a: Expr | None, b: Expr | None) -> Expr | None:
    if a is None or b is None:
        return b if a is None else a
    return Op("and", (a, b))


def space_of(statement: Einsum) -> tuple[str, ...]:
    """The indices an element of the right-hand side has: those of the target's slots, then the reduced."""
    named = (name for key in statement.keys for name in index_names(key))
    return tuple(dict.fromkeys((*named, *statement.over)))


def _einsums(statements: Sequence[Einsum], scope: Scope) -> Partial:
    match statements[0].reduce:
        case None:
            return _element(statements[0], scope).expand(scope.extents(statements[0].dims))
        case Reduction.MEAN:
            return _mean(statements, scope)
        case kind:
            return merge([_contribution(s, kind, scope) for s in statements], kind)


def _contribution(statement: Einsum, kind: Reduction, scope: Scope) -> Partial:
    if kind is Reduction.SUM and not statement.is_keyed:
        contracted = contract(statement, scope.over(space_of(statement)))
        if contracted is not None:
            return contracted
    return reduced(_element(statement, scope), statement, kind, scope)


def _mean(statements: Sequence[Einsum], scope: Scope) -> Partial:
    """Over the elements of all the statements together."""
    elements = [_element(s, scope) for s in statements]
    ones = [Partial(torch.ones_like(e.value, dtype=torch.int64), e.present) for e in elements]
    total, count = (
        merge(
            [reduced(e, s, Reduction.SUM, scope) for e, s in zip(parts, statements, strict=True)],
            Reduction.SUM,
        )
        for parts in (elements, ones)
    )
    return Partial(total.value.to(scope.dtype) / count.value.clamp(min=1), total.present)


def _element(statement: Einsum, scope: Scope) -> Partial:
    """The right-hand side over the statement's space."""
    scope = scope.over(space_of(statement))
    guard = None if statement.where is None else evaluate_expression(statement.where, scope).certainly()
    element = evaluate_expression(statement.body, scope, guard)
    if (
        element.present is not None and element.value.requires_grad
    ):  # where one side is absent, the other does not matter
        element = evaluate_expression(statement.body, scope, both(guard, element.present))
    return element.within(guard)


def reduced(element: Partial, statement: Einsum, kind: Reduction, scope: Scope) -> Partial:
    """Elements over the statement's space reduced to its target's dims. ``kind`` is not the mean."""
    space = space_of(statement)
    if statement.is_keyed:
        return _keyed(element, statement, kind, scope.over(space))
    extents = [scope.sizes[n] if n in statement.over else 1 for n in space]
    result = reduce_axes(element.expand(extents), [space.index(n) for n in statement.over], kind)
    return result.expand(scope.extents(statement.dims))


def _keyed(element: Partial, statement: Einsum, kind: Reduction, scope: Scope) -> Partial:
    """Elements whose place is absent or out of bounds go nowhere."""
    shape = scope.extents(statement.dims)
    place = scope.constant(0)
    present = element.present
    for key, extent in zip(statement.keys, shape, strict=True):
        slot = evaluate_expression(key, scope)
        present = both(both(present, slot.present), (slot.value >= 0) & (slot.value < extent))
        place = place * extent + slot.value.to(torch.int64)
    full = scope.extents(scope.space)
    flat = Partial(element.value, present).expand(full)
    chosen = None if flat.present is None else flat.present.flatten()
    result = scatter(Partial(flat.value.flatten(), chosen), place.expand(full).flatten(), prod(shape), kind)
    present = None if result.present is None else result.present.reshape(shape)
    return Partial(result.value.reshape(shape), present)
