"""Arithmetic on constants, done when code is generated: sizes and params make many expressions constant."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.tiles import Node

Number = float | int | bool


def _reciprocal_root(x: float) -> float:
    return 1 / math.sqrt(x)


_REAL: dict[str, Callable[..., float]] = {
    "sqrt": math.sqrt, "rsqrt": _reciprocal_root, "exp": math.exp, "exp2": math.exp2, "log": math.log,
    "log2": math.log2, "div": operator.truediv, "tanh": math.tanh,
}  # fmt: skip
_ANY: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg, "min": min, "max": max,
    "ufloordiv": operator.floordiv, "umod": operator.mod, "abs": abs, "lt": operator.lt, "le": operator.le,
    "gt": operator.gt, "ge": operator.ge, "eq": operator.eq, "ne": operator.ne, "and": operator.and_,
    "or": operator.or_, "not": operator.not_,
}  # fmt: skip
_LIMITS = {"i32": 2**31, "i64": 2**63}


def value_of(node: Node) -> Number | None:
    """The number a constant holds; None for other nodes, and for infinities and NaN, which keep their operators."""
    if node.operation != "const":
        return None
    text: str = node.attributes[0]
    if text in ("True", "False"):
        return text == "True"
    number = float(text) if is_float(node.dtype) else int(text)
    return number if math.isfinite(number) else None


def is_fraction(number: Number, dtype: str) -> bool:
    """Whether a conversion to the dtype would cut the number off."""
    return not is_float(dtype) and number != int(number)


def folded(name: str, operands: Sequence[Node], dtype: str) -> Number | None:
    """The value of an operator on constants; None where one is not constant, or the value does not fit."""
    values = [value_of(node) for node in operands]
    function = _REAL.get(name) or _ANY.get(name)
    if function is None or not values or any(v is None for v in values):
        return None
    try:
        result = function(*values)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    if dtype == "bool":
        return bool(result)
    if is_float(dtype):
        return float(result) if math.isfinite(result) else None
    limit = _LIMITS.get(dtype, 0)
    return int(result) if -limit <= result < limit else None


def neutral(name: str, operands: Sequence[Node]) -> Node | None:
    """The operand that an operator gives back unchanged: x * 1, x / 1, x + 0 of integers, x and True."""
    if len(operands) != 2:
        return None
    a, b = operands
    real = is_float(a.dtype)
    match name, value_of(a), value_of(b):
        case ("mul" | "div" | "ufloordiv", _, 1):
            return a
        case "mul", 1, _:
            return b
        case ("add" | "sub", _, 0) if not real:
            return a
        case ("add", 0, _) if not real:
            return b
        case ("and", _, True) | ("or", _, False):
            return a
        case ("and", True, _) | ("or", False, _):
            return b
        case _:
            return a if name in ("and", "or") and a is b else None
