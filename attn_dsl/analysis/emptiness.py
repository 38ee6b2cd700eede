"""Sums of nothing: where a kernel computes 0 anyway for what does not exist, it need not ask whether it does.

D_sum[j] += ...  over no elements        0, which is what is stored for an absent element
D[j] = D_sum[j] * 0.69 / sqrt(64)        0 too
"""

from __future__ import annotations

from collections.abc import Collection

from attn_dsl.analysis.logic import TRUE
from attn_dsl.analysis.presence import presence
from attn_dsl.ir.cascade import Cascade, Einsum, Reduction
from attn_dsl.ir.expr import Cast, Const, Detach, Expr, IndexVar, Op, Read


def is_zero_where_absent(expr: Expr, cascade: Cascade, corrected: Collection[str] = ()) -> bool:
    """Whether a kernel's value of an expression is 0 wherever that does not exist. ``corrected``: sums that are
    multiplied by what is infinite where they are empty."""
    if presence(expr, cascade) == TRUE:
        return True
    match expr:
        case Read():
            return _is_empty_sum(expr, cascade, corrected)
        case Cast(value=value) | Detach(value=value) | Op(name="neg", args=(value,)):
            return is_zero_where_absent(value, cascade, corrected)
        case Op(name="mul", args=(value, factor)) if _is_number(factor):
            return is_zero_where_absent(value, cascade, corrected)
        case Op(name="mul", args=(factor, value)) if _is_number(factor):
            return is_zero_where_absent(value, cascade, corrected)
        case Op(name="div", args=(value, divisor)) if _is_number(divisor):
            return is_zero_where_absent(value, cascade, corrected)
        case _:
            return False


def _is_empty_sum(read: Read, cascade: Cascade, corrected: Collection[str]) -> bool:
    parts = cascade.definitions(read.tensor)
    plain = [p for p in parts if isinstance(p, Einsum) and not p.is_keyed]
    at_own = bool(parts) and read.indices == tuple(IndexVar(d) for d in parts[0].dims)
    if not at_own or len(plain) < len(parts) or read.tensor in corrected:
        return False
    if all(p.reduce is Reduction.SUM and p.over for p in plain):
        return True
    (part,) = plain[:1]  # what is added element by element is computed whether it exists or not
    return part.reduce is None and part.where is None and is_zero_where_absent(part.body, cascade, corrected)


def _is_number(expr: Expr) -> bool:
    """A finite number above 0, known to the compiler, whose products with others of its kind stay finite."""
    match expr:
        case Const(value=value):
            return 1e-9 < value < 1e9
        case Op(name="sqrt", args=(value,)):
            return _is_number(value)
        case _:
            return False
