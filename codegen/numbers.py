"""The types of scalar expressions."""

from __future__ import annotations

from attn_dsl.ir.dtypes import Kind, dtype_kind, is_float, width
from attn_dsl.ir.operators import OPERATORS

__all__ = ["is_float", "join_dtypes", "result_dtype"]


def join_dtypes(*dtypes: str) -> str:
    """The dtype of arithmetic on values of these: f64 over f32 over i64 over i32; below 32 bits, 32."""
    if any(is_float(d) for d in dtypes):
        return "f64" if "f64" in dtypes else "f32"
    return "i64" if any(width(d) > 4 for d in dtypes) else "i32"


def result_dtype(operator: str, dtypes: tuple[str, ...], real: str) -> str:
    """The dtype of an operator's result; ``real`` is the dtype of reals in this program."""
    match OPERATORS[operator].kind(map(dtype_kind, dtypes)):
        case Kind.BOOLEAN:
            return "bool"
        case Kind.REAL:
            return real
        case Kind.INTEGER:
            return join_dtypes(*dtypes)
