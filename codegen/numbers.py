"""The types of scalar expressions."""

from __future__ import annotations

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
