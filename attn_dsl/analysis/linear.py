"""Integer linear forms over opaque terms, and the solution of ``f(j) <= 0`` for one index.

``c*t + rest <= 0`` with one term t that varies with the index is solved for t; where t is a floor division
by a positive number, further for what it divides: ``j // B <= g`` is ``j <= g*B + B - 1``,
and where it is a product with one, ``j * k <= g`` is ``j <= g // k``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attn_dsl.analysis.integers import Values, is_positive
from attn_dsl.ir.expr import Const, Expr, IndexVar, Op
from attn_dsl.ir.walk import index_names


@dataclass(frozen=True, slots=True)
class Bound:
    """``index <= limit`` (upper) or ``index >= limit``; the limit is an integer free of stream indices."""

    index: str
    upper: bool
    limit: Expr


def linear_form(expr: Expr) -> tuple[dict[Expr, int], int]:
    """The coefficients of the opaque terms of an integer expression, and its constant."""
    match expr:
        case Const(value=value):
            return {}, int(value)
        case Op(name="add", args=(a, b)):
            return _combine(linear_form(a), linear_form(b), 1)
        case Op(name="sub", args=(a, b)):
            return _combine(linear_form(a), linear_form(b), -1)
        case Op(name="neg", args=(a,)):
            return _combine(({}, 0), linear_form(a), -1)
        case Op(name="mul", args=(Const(value=k), a)) | Op(name="mul", args=(a, Const(value=k))):
            return _combine(({}, 0), linear_form(a), int(k))
        case _:
            return {expr: 1}, 0


def _combine(
    a: tuple[Mapping[Expr, int], int], b: tuple[Mapping[Expr, int], int], factor: int
) -> tuple[dict[Expr, int], int]:
    terms = dict(a[0])
    for term, coefficient in b[0].items():
        terms[term] = terms.get(term, 0) + factor * coefficient
    return {t: c for t, c in terms.items() if c}, a[1] + factor * b[1]


def rebuild(terms: Mapping[Expr, int], constant: int) -> Expr:
    """A linear form as an expression, positive terms first."""
    result: Expr | None = None
    for term, coefficient in sorted(terms.items(), key=lambda item: item[1] < 0):
        size = abs(coefficient)
        scaled = term if size == 1 else Op("mul", (Const(size), term))
        if result is None:
            result = scaled if coefficient > 0 else Op("neg", (scaled,))
        else:
            result = Op("add" if coefficient > 0 else "sub", (result, scaled))
    if result is None:
        return Const(constant)
    if constant:
        result = Op("add" if constant > 0 else "sub", (result, Const(abs(constant))))
    return result


def solve(expr: Expr, streams: frozenset[str], params: Values) -> Bound | None:
    """The bound that ``expr <= 0`` puts on one stream index, exactly; None where it is not of that form."""
    terms, constant = linear_form(expr)
    varying = [t for t in terms if set(index_names(t)) & streams]
    if len(varying) != 1:
        return None
    term = varying[0]
    coefficient = terms.pop(term)
    size = abs(coefficient)
    if coefficient > 0:  # size*t <= -rest
        limit = rebuild({t: -c for t, c in terms.items()}, -constant)
        limit = limit if size == 1 else Op("floordiv", (limit, Const(size)))
    else:  # size*t >= rest
        limit = rebuild(terms, constant if size == 1 else constant + size - 1)
        limit = limit if size == 1 else Op("floordiv", (limit, Const(size)))
    return _solve_term(term, coefficient > 0, limit, streams, params)


def _solve_term(
    term: Expr, upper: bool, limit: Expr, streams: frozenset[str], params: Values
) -> Bound | None:
    match term:
        case IndexVar(name=name):
            return Bound(name, upper, limit)
        case Op(name="floordiv", args=(dividend, divisor)):
            if set(index_names(divisor)) & streams or not is_positive(divisor, params):
                return None
            scaled = Op("mul", (limit, divisor))
            if upper:  # dividend <= limit*k + k - 1
                scaled = Op("add", (scaled, Op("sub", (divisor, Const(1)))))
                return solve(Op("sub", (dividend, scaled)), streams, params)
            return solve(Op("sub", (scaled, dividend)), streams, params)
        case Op(name="mul", args=(a, b)):
            factor, other = (a, b) if set(index_names(b)) & streams else (b, a)
            if set(index_names(factor)) & streams or not is_positive(factor, params):
                return None
            if upper:
                return solve(Op("sub", (other, Op("floordiv", (limit, factor)))), streams, params)
            least = Op("neg", (Op("floordiv", (Op("neg", (limit,)), factor)),))
            return solve(Op("sub", (least, other)), streams, params)
        case _:
            return None
