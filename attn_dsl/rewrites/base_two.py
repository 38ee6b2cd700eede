"""Exponentials in base two, which is what hardware has: exp(x) = exp2(x * log2(e)).

The constant is pushed to where it costs nothing: into constants, and into the terms of a sum, so that

    exp(s[i,j] / sqrt(size(d)) - m[i])
        ->  exp2(s[i,j] * (log2(e) / sqrt(size(d))) - m[i] * log2(e))

is one fused multiply-add an element. Integer sums such as ``i - j`` are exact and stay whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from attn_dsl.ir.cascade import Cascade, Einsum, Statement
from attn_dsl.ir.expr import Cast, Const, Detach, Expr, Op
from attn_dsl.ir.walk import children, transform, with_children
from attn_dsl.rewrites.algebra import (
    Factor,
    Term,
    conjunction,
    factors,
    is_scalar,
    product,
    terms,
    total,
)
from attn_dsl.rewrites.definitions import Definitions, map_expressions
from attn_dsl.rewrites.kinds import Kind, Kinds

LOG2_E = Const(1 / math.log(2))


@dataclass(frozen=True, slots=True)
class _Scaled:
    """An expression times a constant. ``absorbed``: the constant met another and vanished in it. ``guards``:
    of the definitions that were looked through."""

    expr: Expr
    absorbed: bool
    guards: tuple[Expr, ...] = ()


Lookup: TypeAlias = Callable[[Expr], Einsum | None]


def base_two(cascade: Cascade) -> Cascade:
    """Replace every ``exp`` of something that varies."""
    definitions, kinds = Definitions(cascade), Kinds(cascade)

    def plain(expr: Expr) -> Expr:
        """Anywhere: a definition's guard could not be added, so none is looked through."""
        return transform(expr, lambda node: _exponential(node, kinds, lambda _: None)[0])

    def rule(statement: Statement) -> Statement:
        if isinstance(statement, Einsum):
            body, guards = _strict(statement.body, kinds, definitions.pointwise)
            statement = replace(statement, body=body, where=conjunction((statement.where, *guards)))
        return map_expressions(statement, plain)

    return replace(cascade, statements=tuple(map(rule, cascade.statements)))


def _strict(expr: Expr, kinds: Kinds, lookup: Lookup) -> tuple[Expr, tuple[Expr, ...]]:
    """Treat the exponentials without which the expression has no value: the guards of definitions they read
    hold for the expression."""
    if isinstance(expr, Op) and expr.name == "exp":
        return _exponential(expr, kinds, lookup)
    if not isinstance(expr, (Op, Cast, Detach)) or (isinstance(expr, Op) and expr.name in ("and", "or")):
        return expr, ()
    parts = [_strict(child, kinds, lookup) for child in children(expr)]
    guards = tuple(g for _, found in parts for g in found)
    return with_children(expr, tuple(e for e, _ in parts)), guards


def _exponential(expr: Expr, kinds: Kinds, lookup: Lookup) -> tuple[Expr, tuple[Expr, ...]]:
    match expr:
        case Op(name="exp", args=(argument,)) if not is_scalar(argument):
            scaled = _scale(argument, LOG2_E, kinds, lookup)
            return Op("exp2", (scaled.expr,), expr.span), scaled.guards
        case _:
            return expr, ()


def _scale(expr: Expr, constant: Expr, kinds: Kinds, lookup: Lookup) -> _Scaled:
    """Multiply by a constant, where it costs least."""
    if is_scalar(expr):
        return _Scaled(product((Factor(constant), *factors(expr))), True)
    if kinds.of(expr) is not Kind.REAL:
        return _Scaled(Op("mul", (expr, constant)), False)
    addends = terms(expr)
    if len(addends) > 1:
        return _scale_sum(addends, constant, kinds, lookup)
    scalars = tuple(f for f in factors(expr) if is_scalar(f.expr))
    if scalars:
        return _scale_product(factors(expr), scalars, constant, kinds, lookup)
    statement = lookup(expr.value if isinstance(expr, Detach) else expr)
    if statement is not None:
        body = Detach(statement.body) if isinstance(expr, Detach) else statement.body
        inner = _scale(body, constant, kinds, lookup)
        if inner.absorbed:
            guards = () if statement.where is None else (statement.where,)
            return replace(inner, guards=inner.guards + guards)
    return _Scaled(Op("mul", (expr, constant)), False)


def _scale_sum(addends: tuple[Term, ...], constant: Expr, kinds: Kinds, lookup: Lookup) -> _Scaled:
    scaled = [_scale(t.expr, constant, kinds, lookup) for t in addends]
    expr = total([Term(s.expr, t.negative) for s, t in zip(scaled, addends, strict=True)])
    return _Scaled(expr, False, tuple(g for s in scaled for g in s.guards))


def _scale_product(
    parts: tuple[Factor, ...], scalars: tuple[Factor, ...], constant: Expr, kinds: Kinds, lookup: Lookup
) -> _Scaled:
    merged = product((Factor(constant), *scalars))
    rest = tuple(f for f in parts if f not in scalars)
    if len(rest) == 1 and not rest[0].inverted and len(terms(rest[0].expr)) > 1:
        return replace(_scale(rest[0].expr, merged, kinds, lookup), absorbed=True)
    return _Scaled(product((*rest, Factor(merged))), True)
