"""Exponentials in base two, which is what hardware has: exp(x) = exp2(x * log2(e)).

The constant joins others, which are taken out of a sum where all its terms have them:

    exp(s[i,j] / sqrt(size(d)) - m[i] / sqrt(size(d)))
        ->  exp2((s[i,j] - m[i]) * (log2(e) / sqrt(size(d))))

Scaling both terms would save an operation, since ``s * c - m * c`` is one fused multiply-add. But that rounds
only the second product, and where scores are 1e20, the 0 of a row's maximum becomes 1e12: the weight is
infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from attn_dsl.ir.cascade import Cascade, Einsum, Statement
from attn_dsl.ir.dtypes import Kind
from attn_dsl.ir.expr import Cast, Const, Detach, Expr, Op
from attn_dsl.ir.kinds import Kinds
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

LOG2_E = Const(1 / math.log(2))
_DEEPEST = 16  # definitions inside one another that are looked through

Lookup: TypeAlias = Callable[[Expr], Einsum | None]


@dataclass(frozen=True, slots=True)
class _Peeled:
    """An expression without its constant factors. ``guards``: of the definitions that were looked through."""

    expr: Expr
    constants: tuple[Factor, ...] = ()
    guards: tuple[Expr, ...] = ()


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
            if kinds.of(argument) is not Kind.REAL:
                return Op("exp2", (Op("mul", (argument, LOG2_E)),), expr.span), ()
            peeled = _peel(argument, kinds, lookup)
            constant = product((Factor(LOG2_E), *peeled.constants))
            return Op("exp2", (product((*factors(peeled.expr), Factor(constant))),), expr.span), peeled.guards
        case _:
            return expr, ()


def _peel(expr: Expr, kinds: Kinds, lookup: Lookup, depth: int = 0) -> _Peeled:
    """Take off the constant factors, those of a sum where all its terms have the same."""
    if kinds.of(expr) is not Kind.REAL or depth > _DEEPEST:
        return _Peeled(expr)
    addends = terms(expr)
    if len(addends) > 1:
        parts: list[_Peeled] = []
        for term in addends:
            parts.append(_peel(term.expr, kinds, lookup, depth))
            if not parts[-1].constants or parts[-1].constants != parts[0].constants:
                return _Peeled(expr)
        constants = parts[0].constants
        whole = total([Term(p.expr, t.negative) for p, t in zip(parts, addends, strict=True)])
        return _Peeled(whole, constants, tuple(g for p in parts for g in p.guards))
    constants = tuple(f for f in factors(expr) if is_scalar(f.expr))
    rest = tuple(f for f in factors(expr) if f not in constants)
    if constants and rest:
        first, *others = rest
        if others or first.inverted:
            return _Peeled(product(rest), constants)
        inner = _peel(first.expr, kinds, lookup, depth)
        return replace(inner, constants=(*constants, *inner.constants))
    statement = lookup(expr.value if isinstance(expr, Detach) else expr)
    if statement is None:
        return _Peeled(expr)
    body = Detach(statement.body) if isinstance(expr, Detach) else statement.body
    inner = _peel(body, kinds, lookup, depth + 1)
    if not inner.constants:
        return _Peeled(expr)
    return replace(inner, guards=inner.guards + (() if statement.where is None else (statement.where,)))
