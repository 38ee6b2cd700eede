"""What differentiation asks of operators and products."""

from __future__ import annotations

from attn_dsl.ir.expr import Const, Expr, Op, Select
from attn_dsl.ir.operators import OPERATORS
from attn_dsl.ir.slopes import ONE, ZERO, Slope


def slopes(expr: Op, value: Expr) -> tuple[Slope, ...]:
    """The derivative by each argument, None where it is zero. ``value``: how the operator's own value is best
    written."""
    rule = OPERATORS[expr.name].slopes
    return tuple(None for _ in expr.args) if rule is None else rule(expr.args, value)


def factors(x: Expr) -> dict[str, tuple[str, Expr]]:
    """What the derivative of a product needs of its elements, by name: how it is reduced, and of what.
    ``rest``: the product of those that are not 0; ``zeros``: how many are; ``zero``: their sum, 0 with a
    derivative."""
    is_zero = Op("eq", (x, ZERO))
    return {
        "rest": ("*", Select(is_zero, ONE, x)),
        "zeros": ("+", Select(is_zero, ONE, ZERO)),
        "zero": ("+", Select(is_zero, x, ZERO)),
    }


def by_zeros(count: Expr, none: Expr, one: Expr, two: Expr) -> Expr:
    """What holds where as many elements of a product are 0; nothing where more are."""
    cases = ((0.0, none), (1.0, one), (2.0, two))
    result: Expr = ZERO
    for number, value in reversed(cases):
        result = Select(Op("eq", (count, Const(number))), value, result)
    return result
