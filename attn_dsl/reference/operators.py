"""The operators on dense tensors, after the arguments have been brought to a common type.

Integers are int64, reals the evaluation's dtype; a truth value counts as 0 and 1 in arithmetic. Integer
division by zero gives 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor

from attn_dsl.ir.dtypes import Kind
from attn_dsl.ir.operators import OPERATORS
from attn_dsl.reference.philox import uniform

# Their derivative is finite whatever the arguments, so that an absent argument needs no stand-in.
LINEAR = frozenset({"add", "sub", "neg"})


def apply(name: str, args: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """An operator (but ``and``, ``or``, ``not``) on values that all exist."""
    if name == "uniform":
        seed, *coordinates = (a.to(torch.int64) for a in args)
        return uniform(seed, tuple(coordinates), dtype)
    common = _common(name, args, dtype)
    function = _FUNCTIONS.get(name) or getattr(torch, name, None)
    if function is not None:
        return function(*common)
    device = common[0].device
    return OPERATORS[name].by_formula(
        common,
        lambda inner, values: apply(inner, values, dtype),
        lambda v: torch.tensor(v, dtype=dtype, device=device),
    )


def _common(name: str, args: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    kind = OPERATORS[name].result
    real = kind is Kind.REAL or (kind is not Kind.INTEGER and any(a.is_floating_point() for a in args))
    return [a.to(dtype if real else torch.int64) for a in args]


def _floor_divide(a: Tensor, b: Tensor) -> Tensor:
    if a.is_floating_point():
        return torch.div(a, b, rounding_mode="floor")
    quotient = torch.div(a, torch.where(b == 0, 1, b), rounding_mode="floor")
    return torch.where(b == 0, 0, quotient)


def _modulo(a: Tensor, b: Tensor) -> Tensor:
    """The remainder has the sign of the divisor."""
    if a.is_floating_point():
        return torch.remainder(a, b)
    return torch.where(b == 0, 0, torch.remainder(a, torch.where(b == 0, 1, b)))


def _power(a: Tensor, b: Tensor) -> Tensor:
    """A negative power of an integer that is not 1 or -1 is cut to 0."""
    if a.is_floating_point():
        return torch.pow(a, b)
    inverse = torch.where(a == 1, 1, torch.where(a == -1, 1 - 2 * (b & 1), 0))
    return torch.where(b < 0, inverse, torch.pow(*torch.broadcast_tensors(a, b.clamp(min=0))))


def _shift_left(a: Tensor, count: Tensor) -> Tensor:
    inside = (count >= 0) & (count < 64)
    return torch.where(inside, torch.bitwise_left_shift(a, torch.where(inside, count, 0)), 0)


def _shift_right(a: Tensor, count: Tensor) -> Tensor:
    inside = (count >= 0) & (count < 64)
    return torch.bitwise_right_shift(a, torch.where(inside, count, 63))


def _minimum(*args: Tensor) -> Tensor:
    return reduce(torch.minimum, args)


def _maximum(*args: Tensor) -> Tensor:
    return reduce(torch.maximum, args)


# Where torch means something else by the name, or has no such name. Functions go by their own.
_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "floordiv": _floor_divide,
    "mod": _modulo,
    "pow": _power,
    "shr": _shift_right,
    "shl": _shift_left,
    "bitand": torch.bitwise_and,
    "bitxor": torch.bitwise_xor,
    "bitor": torch.bitwise_or,
    "min": _minimum,
    "max": _maximum,
}
