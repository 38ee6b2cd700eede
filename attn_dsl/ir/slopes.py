"""Derivatives of operators, as expressions of their arguments and of their value.

At a kink the derivative is that of torch: none for ``abs`` and ``relu`` at 0, an even share for ``max`` and
``min`` of equals, all of it to the argument of ``clamp`` at its bounds. So at NaN: 1 through ``relu``, and
for both sides of ``max`` and ``min``, 0 through ``clamp``.
"""

from __future__ import annotations

from math import pi, sqrt

from attn_dsl.ir.expr import Const, Expr, Op, Select

Slope = Expr | None
ONE, TWO, HALF = Const(1.0), Const(2.0), Const(0.5)
ZERO = Const(0.0)


def add(a: Expr, b: Expr) -> Expr:
    """``a + b``."""
    return Op("add", (a, b))


def sub(a: Expr, b: Expr) -> Expr:
    """``a - b``."""
    return Op("sub", (a, b))


def mul(a: Expr, b: Expr) -> Expr:
    """``a * b``, without ones."""
    if a == ONE:
        return b
    return a if b == ONE else Op("mul", (a, b))


def div(a: Expr, b: Expr) -> Expr:
    """``a / b``."""
    return Op("div", (a, b))


def neg(a: Expr) -> Expr:
    """``-a``."""
    return Op("neg", (a,))


def call(name: str, *args: Expr) -> Expr:
    """A function of the language."""
    return Op(name, args)


def of_silu(x: Expr, y: Expr) -> Expr:
    """s + y (1 - s), where s = sigmoid(x)."""
    s = call("sigmoid", x)
    return add(s, mul(y, sub(ONE, s)))


def of_gelu(x: Expr, _: Expr) -> Expr:
    """Φ(x) + x φ(x)."""
    density = mul(Const(1 / sqrt(2 * pi)), call("exp", mul(Const(-0.5), mul(x, x))))
    cumulative = mul(HALF, add(ONE, call("erf", mul(x, Const(1 / sqrt(2))))))
    return add(cumulative, mul(x, density))


def of_abs(x: Expr, _: Expr) -> Expr:
    """The sign."""
    return Select(Op("gt", (x, ZERO)), ONE, Select(Op("lt", (x, ZERO)), Const(-1.0), ZERO))


def of_relu(x: Expr, _: Expr) -> Expr:
    """0 below and at 0."""
    return Select(Op("le", (x, ZERO)), ZERO, ONE)


def of_power(args: tuple[Expr, ...], value: Expr) -> tuple[Slope, ...]:
    """Those of ``base ** exponent``."""
    base, exponent = args
    if isinstance(exponent, Const):
        lower = exponent.value - 1
        rest = ONE if lower == 0 else base if lower == 1 else Op("pow", (base, Const(lower)))
        return (ZERO if exponent.value == 0 else mul(Const(float(exponent.value)), rest), None)
    lowered = mul(exponent, Op("pow", (base, sub(exponent, Const(1)))))
    by_base = Select(Op("eq", (exponent, ZERO)), ZERO, lowered)
    at_zero = Op("and", (Op("eq", (base, ZERO)), Op("ge", (exponent, ZERO))))
    by_exponent = Select(at_zero, ZERO, mul(value, call("log", base)))
    return (by_base, by_exponent)


def of_maximum(args: tuple[Expr, ...], _: Expr) -> tuple[Slope, ...]:
    """A half to each of equals."""
    return _of_extremum("max", "lt", args)


def of_minimum(args: tuple[Expr, ...], _: Expr) -> tuple[Slope, ...]:
    """A half to each of equals."""
    return _of_extremum("min", "gt", args)


def _of_extremum(name: str, loses: str, args: tuple[Expr, ...]) -> tuple[Slope, ...]:
    """Folded from the left, as the operator is: ``max(max(a, b), c)``."""
    if len(args) == 1:
        return (ONE,)
    *earlier, last = args
    rest = earlier[0] if len(earlier) == 1 else Op(name, tuple(earlier))

    def share(a: Expr, b: Expr) -> Expr:
        return Select(Op(loses, (a, b)), ZERO, Select(Op("eq", (a, b)), HALF, ONE))

    outer = share(rest, last)
    inner = tuple(None if s is None else mul(s, outer) for s in _of_extremum(name, loses, tuple(earlier)))
    return (*inner, share(last, rest))


def of_clamp(args: tuple[Expr, ...], _: Expr) -> tuple[Slope, ...]:
    """min(max(x, low), high), where ``low`` may be above ``high``."""
    x, low, high = args
    within = Op("and", (Op("ge", (x, low)), Op("le", (x, high))))
    raised = Op("and", (Op("lt", (x, low)), Op("lt", (low, high))))
    lowered = Op("or", (Op("gt", (x, high)), Op("lt", (high, low))))
    return tuple(Select(where, ONE, ZERO) for where in (within, raised, lowered))
