"""Arithmetic on constants, done when code is generated: sizes and params make many expressions constant."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from attn_dsl.analysis.widths import RANGES
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.tiles import Const, Node
from attn_dsl.ir.operators import OPERATORS

Number = float | int | bool


# Functions of the language that ``math`` has under its own name go by that.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "neg": operator.neg,
    "min": min, "max": max, "ufloordiv": operator.floordiv, "umod": operator.mod, "abs": abs, "lt": operator.lt,
    "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq, "ne": operator.ne,
    "and": operator.and_, "or": operator.or_, "not": operator.not_,
}  # fmt: skip
_UNFOLDED = frozenset({"pow"})  # Python's is another: a negative base has complex powers


def value_of(node: Node) -> Number | None:
    """The number a constant holds; None for other nodes, and for infinities and NaN, which keep their
    operators."""
    match node.operation:
        case Const(value=value) if math.isfinite(value):
            return float(value) if is_float(node.dtype) else value
        case _:
            return None


def is_fraction(number: Number, dtype: str) -> bool:
    """Whether a conversion to the dtype would cut the number off."""
    return not is_float(dtype) and number != int(number)


def folded(name: str, operands: Sequence[Node], dtype: str) -> Number | None:
    """The value of an operator on constants; None where one is not constant, or the value does not fit."""
    values = [value_of(node) for node in operands]
    if not values or any(v is None for v in values):
        return None
    try:
        result = _evaluated(name, values)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    if dtype == "bool":
        return bool(result)
    if is_float(dtype):
        return float(result) if math.isfinite(result) else None
    low, high = RANGES[dtype]
    return int(result) if low <= result <= high else None


def _evaluated(name: str, values: Sequence[Any]) -> Any:
    """By Python's own functions or by the formula; ValueError where neither is known."""
    function = _FUNCTIONS.get(name) or (None if name in _UNFOLDED else getattr(math, name, None))
    if function is not None:
        return function(*values)
    known = OPERATORS.get(name)
    if known is None or known.formula is None:
        raise ValueError(name)
    return known.by_formula(values, _evaluated, float)


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
