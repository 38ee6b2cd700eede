"""The kind of a scalar expression: integer, real or boolean."""

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
from attn_dsl.ir.operators import OPERATORS, ResultKind

_PARAM_KINDS = {"int": "integer", "float": "real", "bool": "boolean"}


def dtype_kind(dtype: str | None) -> str:
    """The kind of a tensor's elements."""
    if dtype is None or dtype in ("f16", "bf16", "f32", "f64"):
        return "real"
    return "boolean" if dtype == "bool" else "integer"


def kind_of(expr: Expr, tensors: Mapping[str, str], params: Mapping[str, str]) -> str:
    """The kind of an expression; ``tensors`` and ``params`` give theirs (params: int, float, bool)."""
    match expr:
        case Const(value=value):
            return "boolean" if isinstance(value, bool) else "integer" if isinstance(value, int) else "real"
        case ParamRef(name=name):
            return _PARAM_KINDS[params[name]]
        case SizeOf() | IndexVar():
            return "integer"
        case Read(tensor=tensor):
            return tensors.get(tensor, "real")
        case Member():
            return "boolean"
        case Cast(dtype=dtype):
            return dtype_kind(dtype)
        case Detach(value=value):
            return kind_of(value, tensors, params)
        case Select(then=a, otherwise=b) | Default(value=a, fallback=b):
            return _join(kind_of(a, tensors, params), kind_of(b, tensors, params))
        case Op(name=name, args=args):
            return _operator_kind(name, [kind_of(a, tensors, params) for a in args])


def _join(a: str, b: str) -> str:
    return a if a == b else "real" if "real" in (a, b) else "integer"


def _operator_kind(name: str, kinds: list[str]) -> str:
    match OPERATORS[name].result:
        case ResultKind.BOOLEAN:
            return "boolean"
        case ResultKind.REAL:
            return "real"
        case ResultKind.INTEGER:
            return "integer"
        case ResultKind.NUMBER:
            return "real" if "real" in kinds else "integer"
