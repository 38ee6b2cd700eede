"""Sums of nothing: where a kernel computes 0 anyway for what does not exist, it need not ask whether it does.

    D_sum[j] += ...  over no elements        0, which is what is stored for an absent element
    D[j] = D_sum[j] * 0.69 / sqrt(64)        0 too

A loop gives 0 for a sum of nothing, since it asks every condition of each element; so does what another
kernel has stored. Not so a sum within a tile: conditions that hold for all of its elements or for none are
not asked there.
"""

from __future__ import annotations

from collections.abc import Collection

from attn_dsl.analysis.logic import TRUE
from attn_dsl.analysis.presence import presence
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.expr import Cast, Const, Detach, Expr, IndexVar, Op, Read


def is_zero_where_absent(expr: Expr, cascade: Cascade, zeros: Collection[str]) -> bool:
    """Whether a kernel's value of an expression is 0 wherever that does not exist. ``zeros``: the tensors of
    which it has a 0 where they are absent: sums by its loops, and what is stored."""
    if presence(expr, cascade) == TRUE:
        return True
    match expr:
        case Read():
            return _is_zero(expr, cascade, zeros)
        case Cast(value=value) | Detach(value=value) | Op(name="neg", args=(value,)):
            return is_zero_where_absent(value, cascade, zeros)
        case Op(name="mul", args=(value, factor)) if _is_number(factor):
            return is_zero_where_absent(value, cascade, zeros)
        case Op(name="mul", args=(factor, value)) if _is_number(factor):
            return is_zero_where_absent(value, cascade, zeros)
        case Op(name="div", args=(value, divisor)) if _is_number(divisor):
            return is_zero_where_absent(value, cascade, zeros)
        case _:
            return False


def _is_zero(read: Read, cascade: Cascade, zeros: Collection[str]) -> bool:
    parts = cascade.definitions(read.tensor)
    if not parts or read.indices != tuple(IndexVar(d) for d in parts[0].dims):
        return False
    if read.tensor in zeros:
        return True
    part = parts[0]  # what is added element by element is computed whether it exists or not
    pointwise = isinstance(part, Einsum) and len(parts) == 1 and part.reduce is None and not part.is_keyed
    return pointwise and part.where is None and is_zero_where_absent(part.body, cascade, zeros)


def _is_number(expr: Expr) -> bool:
    """A finite number above 0, known to the compiler, whose products with others of its kind stay finite."""
    match expr:
        case Const(value=value):
            return 1e-9 < value < 1e9
        case Op(name="sqrt", args=(value,)):
            return _is_number(value)
        case _:
            return False
