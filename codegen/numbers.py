"""The types of scalar expressions, and facts about integers that save instructions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
from attn_dsl.ir.operators import OPERATORS, ResultKind

FLOATS = ("f16", "bf16", "f32", "f64")
_INTEGER_RANK = {"bool": 0, "u8": 1, "i8": 1, "i16": 1, "i32": 1, "i64": 2}


def is_float(dtype: str) -> bool:
    """Whether a dtype is a floating type."""
    return dtype in FLOATS


def join_dtypes(*dtypes: str) -> str:
    """The dtype of arithmetic on values of these: f64 over f32 over i64 over i32; below 32 bits, 32."""
    if any(is_float(d) for d in dtypes):
        return "f64" if "f64" in dtypes else "f32"
    return "i64" if any(_INTEGER_RANK[d] == 2 for d in dtypes) else "i32"


def result_dtype(operator: str, dtypes: tuple[str, ...], real: str) -> str:
    """The dtype of an operator's result; ``real`` is the dtype of reals in this program."""
    match OPERATORS[operator].result:
        case ResultKind.BOOLEAN:
            return "bool"
        case ResultKind.REAL:
            return real
        case ResultKind.INTEGER:
            return join_dtypes(*dtypes)
        case ResultKind.NUMBER:
            return real if any(is_float(d) for d in dtypes) else join_dtypes(*dtypes)


def is_nonnegative(expr: Expr, params: Mapping[str, int | float | bool]) -> bool:
    """Whether an integer expression is provably at least zero."""
    test: Callable[[Expr], bool] = lambda e: is_nonnegative(e, params)  # noqa: E731
    match expr:
        case Const(value=v):
            return v >= 0
        case IndexVar() | SizeOf():
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


def is_positive(expr: Expr, params: Mapping[str, int | float | bool]) -> bool:
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
