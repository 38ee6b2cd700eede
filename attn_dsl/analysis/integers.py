"""Facts about integer expressions that hold whatever the indices are."""

from __future__ import annotations

from collections.abc import Mapping

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

Values = Mapping[str, int | float | bool]


def is_nonnegative(expr: Expr, params: Values) -> bool:
    """Whether an integer expression is provably at least zero."""

    def test(inner: Expr) -> bool:
        return is_nonnegative(inner, params)

    match expr:
        case Const(value=v):
            return v >= 0
        case IndexVar(name=name):
            return "#" not in name  # an endpoint of what is read has any sign
        case SizeOf():
            return True
        case ParamRef(name=n):
            return n in params and params[n] >= 0
        case Op(name="add" | "mul" | "floordiv" | "min" | "bitor" | "shr" | "shl", args=args):
            return all(map(test, args))
        case Op(name="mod", args=(_, divisor)):
            return is_positive(divisor, params)
        case Op(name="max" | "bitand", args=args):
            return any(map(test, args))
        case Op(name="abs"):
            return True
        case Op(name="clamp", args=(_, low, _)):
            return test(low)
        case Select(then=a, otherwise=b):
            return test(a) and test(b)
        case Default(value=a, fallback=b):
            return test(a) and test(b)
        case Detach(value=v) | Cast(value=v):
            return test(v)
        case Op() | Read() | Member():
            return False


def is_positive(expr: Expr, params: Values) -> bool:
    """Whether an integer expression is provably at least one (a tile of an empty index is never visited)."""
    match expr:
        case Const(value=v):
            return v > 0
        case ParamRef(name=n):
            return n in params and params[n] > 0
        case SizeOf():
            return True
        case Op(name="add", args=(a, b)):
            return (is_positive(a, params) and is_nonnegative(b, params)) or (
                is_nonnegative(a, params) and is_positive(b, params)
            )
        case Op(name="mul" | "max", args=args):
            return all(is_positive(a, params) for a in args)
        case _:
            return False
