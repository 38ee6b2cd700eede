"""Sums and products as flat lists: the form in which rewrites compare, move and rebuild expressions.

    a * b / c      ->  factors  a, b, 1/c
    a - (b + c)    ->  terms    a, -b, -c

``detach`` distributes over both, since it is the identity on values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from attn_dsl.ir.expr import Const, Detach, Expr, IndexVar, Member, Op, Read
from attn_dsl.ir.walk import walk

ONE = Const(1)
MINUS_ONE = Const(-1)


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor of a product; ``inverted`` where it divides."""

    expr: Expr
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a sum; ``negative`` where it is subtracted."""

    expr: Expr
    negative: bool = False


def factors(expr: Expr) -> tuple[Factor, ...]:
    """The factors of a product, in reading order; the expression itself where it is none."""
    match expr:
        case Op(name="mul", args=(a, b)):
            return (*factors(a), *factors(b))
        case Op(name="div", args=(a, b)):
            return (*factors(a), *invert(factors(b)))
        case Op(name="neg", args=(a,)):
            return (Factor(MINUS_ONE), *factors(a))
        case Detach(value=value):
            return tuple(replace(f, expr=detached(f.expr)) for f in factors(value))
        case _:
            return (Factor(expr),)


def invert(parts: Iterable[Factor]) -> tuple[Factor, ...]:
    """The factors of the reciprocal."""
    return tuple(Factor(f.expr, not f.inverted) for f in parts)


def product(parts: Sequence[Factor]) -> Expr:
    """The product of factors: signs in front, then what multiplies, then what divides."""
    negative = sum(f.expr == MINUS_ONE for f in parts) % 2 == 1
    rest = [f for f in parts if f.expr not in (MINUS_ONE, ONE)]
    over = [f.expr for f in rest if not f.inverted]
    result: Expr = over[0] if over else ONE
    for expr in over[1:]:
        result = Op("mul", (result, expr))
    for factor in rest:
        if factor.inverted:
            result = Op("div", (result, factor.expr))
    return negated(result) if negative else result


def terms(expr: Expr) -> tuple[Term, ...]:
    """The terms of a sum, in reading order; the expression itself where it is none."""
    match expr:
        case Op(name="add", args=(a, b)):
            return (*terms(a), *terms(b))
        case Op(name="sub", args=(a, b)):
            return (*terms(a), *opposite(terms(b)))
        case Op(name="neg", args=(a,)):
            return opposite(terms(a))
        case Detach(value=value):
            return tuple(replace(t, expr=detached(t.expr)) for t in terms(value))
        case _:
            return (Term(expr),)


def opposite(parts: Iterable[Term]) -> tuple[Term, ...]:
    """The terms of the negated sum."""
    return tuple(Term(t.expr, not t.negative) for t in parts)


def total(parts: Sequence[Term]) -> Expr:
    """The sum of one or more terms, the first positive one in front."""
    first = next((k for k, t in enumerate(parts) if not t.negative), 0)
    ordered = (parts[first], *parts[:first], *parts[first + 1 :])
    result = negated(ordered[0].expr) if ordered[0].negative else ordered[0].expr
    for term in ordered[1:]:
        result = Op("sub" if term.negative else "add", (result, term.expr))
    return result


def negated(expr: Expr) -> Expr:
    """The opposite, a double negation undone."""
    match expr:
        case Op(name="neg", args=(inner,)):
            return inner
        case _:
            return Op("neg", (expr,))


def detached(expr: Expr) -> Expr:
    """``detach(expr)``, but for what carries no gradient anyway."""
    return expr if isinstance(expr, Detach) or is_scalar(expr) else Detach(expr)


def is_scalar(expr: Expr) -> bool:
    """Whether the value is one number for the whole call: params, sizes and literals only."""
    return not any(isinstance(node, (IndexVar, Read, Member)) for node in walk(expr))


def conjuncts(guard: Expr | None) -> tuple[Expr, ...]:
    """The predicates that a guard demands together."""
    match guard:
        case None:
            return ()
        case Op(name="and", args=(a, b)):
            return (*conjuncts(a), *conjuncts(b))
        case _:
            return (guard,)


def conjunction(guards: Iterable[Expr | None]) -> Expr | None:
    """All the guards together, each predicate once; None where nothing is demanded."""
    parts = dict.fromkeys(part for guard in guards for part in conjuncts(guard))
    result: Expr | None = None
    for part in parts:
        result = part if result is None else Op("and", (result, part))
    return result
