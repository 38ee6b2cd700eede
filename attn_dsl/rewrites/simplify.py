"""Local simplifications that change no bit of a result: neutral elements, double negations, literals.

    x * 1  ->  x        -(-x)  ->  x        2 * 3  ->  6        where true and p  ->  where p

``x * 0`` and ``x + 0`` stay for reals: infinities, NaN and the sign of zero would be lost.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.dtypes import Kind
from attn_dsl.ir.expr import Const, Detach, Expr, Op, Select
from attn_dsl.ir.kinds import Kinds
from attn_dsl.ir.walk import transform
from attn_dsl.rewrites.algebra import is_scalar
from attn_dsl.rewrites.definitions import map_expressions

_ARITHMETIC: dict[str, Callable[..., int | float | bool]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
}
_TRUE, _FALSE = Const(True), Const(False)


def simplify(cascade: Cascade) -> Cascade:
    """Simplify every expression; a guard that always holds goes."""
    rule = partial(_simplified, kinds=Kinds(cascade))
    statements = tuple(map_expressions(s, lambda expr: transform(expr, rule)) for s in cascade.statements)
    return replace(
        cascade,
        statements=tuple(replace(s, where=None) if s.where == _TRUE else s for s in statements),
    )


def _simplified(expr: Expr, kinds: Kinds) -> Expr:
    match expr:
        case Op(name="neg", args=(Op(name="neg", args=(x,)),)) if kinds.of(x) is not Kind.BOOLEAN:
            return x
        case Op(name="not", args=(Op(name="not", args=(x,)),)) if kinds.of(x) is Kind.BOOLEAN:
            return x
        case Op(name="and" | "or"):
            return _logical(expr, kinds)
        case Op(name=name, args=args) if name != "neg" and all(_literal(a) is not None for a in args):
            return _folded(expr)
        case Op(name="mul" | "div" | "add" | "sub"):
            return _without_neutral(expr, kinds)
        case Detach(value=Detach() as inner):
            return inner
        case Detach(value=value) if is_scalar(value):
            return value
        case Select(condition=Const(value=bool(c)), then=a, otherwise=b) if kinds.of(a) == kinds.of(b):
            return a if c else b
        case _:
            return expr


def _literal(expr: Expr) -> int | float | bool | None:
    """The value of a literal; a negative one is written as the negation of a positive one."""
    match expr:
        case Const(value=value):
            return value
        case Op(name="neg", args=(Const(value=value),)):
            return -value
        case _:
            return None


def _folded(expr: Op) -> Expr:
    """The literal an operator gives on literals, where it is finite."""
    compute = _ARITHMETIC.get(expr.name)
    values = [v for a in expr.args if (v := _literal(a)) is not None]
    if compute is None or not all(map(math.isfinite, values)):
        return expr
    if expr.name == "div" and values[1] == 0:
        return expr
    try:
        value = compute(*values)
    except OverflowError:
        return expr
    if not math.isfinite(value):
        return expr
    literal = Const(abs(value) if not isinstance(value, bool) else value, expr.span)
    return Op("neg", (literal,), expr.span) if math.copysign(1, value) < 0 else literal


def _logical(expr: Op, kinds: Kinds) -> Expr:
    """``and`` and ``or`` with a literal: three-valued logic lets it decide even beside an absent operand."""
    a, b = expr.args
    neutral, decisive = (_TRUE, _FALSE) if expr.name == "and" else (_FALSE, _TRUE)
    if decisive in (a, b):
        return decisive
    for literal, other in ((a, b), (b, a)):
        if literal == neutral and kinds.of(other) is Kind.BOOLEAN:
            return other
    return expr


def _without_neutral(expr: Op, kinds: Kinds) -> Expr:
    """``x * 1``, ``x / 1``, ``x - 0`` and, of integers, ``x + 0``, where the kind of x is that of the
    result."""
    a, b = expr.args
    pairs = ((a, b), (b, a)) if expr.name in ("mul", "add") else ((a, b),)
    neutral = 1 if expr.name in ("mul", "div") else 0
    for x, literal in pairs:
        if not isinstance(literal, Const) or isinstance(literal.value, bool) or literal.value != neutral:
            continue
        signed_zero = expr.name == "add" and kinds.of(expr) is Kind.REAL
        if not signed_zero and kinds.of(x) == kinds.of(expr):
            return x
    return expr
