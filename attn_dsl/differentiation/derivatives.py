"""The derivatives of the operators.

``slopes(expr)`` gives, for each argument of an operator, the derivative of its value by that argument; None where
that is zero. At a kink the derivative is that of torch: none for ``abs`` and ``relu`` at 0, an even share for
``max`` and ``min`` of equals, all of it to the argument of ``clamp`` at its bounds. So at NaN: 1 through ``relu``, and for
both sides of ``max`` and ``min``, 0 through ``clamp``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi, sqrt

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


def factors(x: Expr) -> dict[str, tuple[str, Expr]]:
    """What the derivative of a product needs of its elements, by name: how it is reduced, and of what. ``rest``: the
    product of those that are not 0; ``zeros``: how many are; ``zero``: their sum, 0 with a derivative."""
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


def call(name: str, *args: Expr) -> Expr:
    """A function of the language."""
    return Op(name, args)


def _sigmoid_slope(x: Expr, y: Expr) -> Expr:
    return mul(y, sub(ONE, y))


def _silu(x: Expr, y: Expr) -> Expr:
    s = call("sigmoid", x)
    return add(s, mul(y, sub(ONE, s)))


def _gelu(x: Expr, y: Expr) -> Expr:
    """Φ(x) + x φ(x)."""
    density = mul(Const(1 / sqrt(2 * pi)), call("exp", mul(Const(-0.5), mul(x, x))))
    cumulative = mul(HALF, add(ONE, call("erf", mul(x, Const(1 / sqrt(2))))))
    return add(cumulative, mul(x, density))


def _sign(x: Expr, y: Expr) -> Expr:
    return Select(Op("gt", (x, ZERO)), ONE, Select(Op("lt", (x, ZERO)), Const(-1.0), ZERO))


# The derivative by the argument x, from x and the value y.
_FUNCTIONS: dict[str, Callable[[Expr, Expr], Expr]] = {
    "neg": lambda x, y: Const(-1.0),
    "abs": _sign,
    "sqrt": lambda x, y: div(HALF, y),
    "rsqrt": lambda x, y: div(mul(Const(-0.5), y), x),
    "exp": lambda x, y: y,
    "exp2": lambda x, y: mul(Const(log(2)), y),
    "expm1": lambda x, y: add(y, ONE),
    "log": lambda x, y: div(ONE, x),
    "log2": lambda x, y: div(Const(1 / log(2)), x),
    "log1p": lambda x, y: div(ONE, add(ONE, x)),
    "sin": lambda x, y: call("cos", x),
    "cos": lambda x, y: neg(call("sin", x)),
    "tan": lambda x, y: add(ONE, mul(y, y)),
    "tanh": lambda x, y: sub(ONE, mul(y, y)),
    "sigmoid": _sigmoid_slope,
    "softplus": lambda x, y: call("sigmoid", x),
    "silu": _silu,
    "gelu": _gelu,
    "erf": lambda x, y: mul(Const(2 / sqrt(pi)), call("exp", neg(mul(x, x)))),
    "relu": lambda x, y: Select(Op("le", (x, ZERO)), ZERO, ONE),
}
_FLAT = frozenset({"floor", "floordiv", "uniform", "shr", "shl", "bitand", "bitxor", "bitor", "present",
                   "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"})  # fmt: skip


def slopes(expr: Op, value: Expr) -> tuple[Slope, ...]:
    """The derivative by each argument. ``value``: how the operator's own value is best written."""
    args = expr.args
    match expr.name:
        case "add":
            return (ONE, ONE)
        case "sub":
            return (ONE, Const(-1.0))
        case "mul":
            return (args[1], args[0])
        case "div":
            return (div(ONE, args[1]), neg(div(value, args[1])))
        case "pow":
            return _power(args[0], args[1], value)
        case "mod":
            return (ONE, neg(Op("floordiv", args)))
        case "min" | "max":
            return _extremum(expr.name, args)
        case "clamp":
            return _clamp(*args)
        case name if name in _FLAT:
            return tuple(None for _ in args)
        case name:
            return (_FUNCTIONS[name](args[0], value),)


def _power(base: Expr, exponent: Expr, value: Expr) -> tuple[Slope, ...]:
    if isinstance(exponent, Const):
        lower = exponent.value - 1
        rest = ONE if lower == 0 else base if lower == 1 else Op("pow", (base, Const(lower)))
        return (ZERO if exponent.value == 0 else mul(Const(float(exponent.value)), rest), None)
    lowered = mul(exponent, Op("pow", (base, sub(exponent, Const(1)))))
    by_base = Select(Op("eq", (exponent, ZERO)), ZERO, lowered)
    at_zero = Op("and", (Op("eq", (base, ZERO)), Op("ge", (exponent, ZERO))))
    by_exponent = Select(at_zero, ZERO, mul(value, call("log", base)))
    return (by_base, by_exponent)


def _extremum(name: str, args: tuple[Expr, ...]) -> tuple[Slope, ...]:
    """Folded from the left, as the operator is: ``max(max(a, b), c)``."""
    if len(args) == 1:
        return (ONE,)
    *earlier, last = args
    rest = earlier[0] if len(earlier) == 1 else Op(name, tuple(earlier))
    loses = "lt" if name == "max" else "gt"

    def share(a: Expr, b: Expr) -> Expr:
        return Select(Op(loses, (a, b)), ZERO, Select(Op("eq", (a, b)), HALF, ONE))

    outer = share(rest, last)
    inner = tuple(None if s is None else mul(s, outer) for s in _extremum(name, tuple(earlier)))
    return (*inner, share(last, rest))


def _clamp(x: Expr, low: Expr, high: Expr) -> tuple[Slope, ...]:
    """min(max(x, low), high), where ``low`` may be above ``high``."""
    within = Op("and", (Op("ge", (x, low)), Op("le", (x, high))))
    raised = Op("and", (Op("lt", (x, low)), Op("lt", (low, high))))
    lowered = Op("or", (Op("gt", (x, high)), Op("lt", (high, low))))
    return tuple(Select(where, ONE, ZERO) for where in (within, raised, lowered))
