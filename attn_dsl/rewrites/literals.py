"""The real literals of a product as one.

    x * 0.6931 * 1.4427 / sqrt(size(d))   ->   x / sqrt(size(d))
    x * 0.02 / 0.5                        ->   x * 0.04

Derivatives multiply by ln 2 what base two has multiplied by its inverse. The literal is computed in f64 and
rounded once; literals whose product leaves what an f32 holds with ease are left alone, so that nothing
overflows that did not before.
"""

from __future__ import annotations

from dataclasses import replace

from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Const, Expr, Op
from attn_dsl.ir.walk import transform
from attn_dsl.rewrites.algebra import Factor, factors, product
from attn_dsl.rewrites.definitions import map_expressions

_LEAST, _MOST = 1e-30, 1e30


def literals(cascade: Cascade) -> Cascade:
    """Collect the literals of every product of reals."""

    def rule(expr: Expr) -> Expr:
        match expr:
            case Op(name="mul" | "div" | "neg"):
                return _collected(expr)
            case _:
                return expr

    statements = tuple(map_expressions(s, lambda e: transform(e, rule)) for s in cascade.statements)
    return replace(cascade, statements=statements)


def _collected(expr: Expr) -> Expr:
    parts = factors(expr)
    constants = [f for f in parts if _real(f.expr) is not None]
    if len(constants) < 2:
        return expr
    value = 1.0
    for factor in constants:
        literal = _real(factor.expr)
        assert literal is not None
        value = value / literal if factor.inverted else value * literal
        if not _LEAST <= value <= _MOST:
            return expr
    rest = [f for f in parts if _real(f.expr) is None]
    if value == 1.0:  # ``simplify`` drops it where what is left is real
        return Op("mul", (product(rest), Const(1.0)))
    first = next(at for at, f in enumerate(parts) if _real(f.expr) is not None)
    return product([*rest[:first], Factor(Const(value)), *rest[first:]])


def _real(expr: Expr) -> float | None:
    """A positive real literal; signs are factors of their own."""
    match expr:
        case Const(value=float() as value) if _LEAST <= value <= _MOST:
            return value
        case _:
            return None
