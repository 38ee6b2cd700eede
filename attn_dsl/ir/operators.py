"""The operators and functions a scalar expression may use: one row for each, with all that the stages ask of
it.

A function is this row and its spelling in the targets (``codegen/spelling.py``); where a target has no word
for it, its ``formula`` is compiled in its place, and the row alone is enough:

    unary("softsign", formula=lambda x: div(x, add(ONE, call("abs", x))), ...)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import log, pi, sqrt
from typing import TypeVar

from attn_dsl.ir import slopes
from attn_dsl.ir.dtypes import Kind
from attn_dsl.ir.expr import Const, Expr, IndexVar, Op
from attn_dsl.ir.slopes import HALF, ONE, ZERO, Slope, add, call, div, mul, neg, sub

T = TypeVar("T")


class Cost(StrEnum):
    """What one evaluation on reals takes."""

    STEP = "step"  # an instruction or a few
    DIVISION = "division"
    CALL = "call"  # a function, worth computing once; a few units of roundoff off


class Positive(StrEnum):
    """Which arguments must be positive that the result is."""

    ALWAYS = "always"  # none
    ALL = "all"
    ANY = "any"
    FIRST = "first"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """``symbol``: the infix or prefix spelling; None for a function, which is spelt by its name. ``result``:
    its kind; None where it is an integer if all arguments are integers or booleans, and else a real.

    ``total``: whether every real has a finite value. ``slopes``: from the arguments and the value, the
    derivative by each argument, None where that is zero everywhere; None for an operator that is flat.
    ``formula``: the same in terms of other operators, for whoever has no word for it. ``sample``: a text that
    takes any ordinary ``{x}`` to an ordinary value by this function; None for operators, and functions of
    more than one real."""

    name: str
    result: Kind | None
    min_args: int
    max_args: int | None
    cost: Cost
    positive: Positive
    total: bool
    slopes: Callable[[tuple[Expr, ...], Expr], tuple[Slope, ...]] | None
    symbol: str | None = None
    formula: Callable[..., Expr] | None = None
    sample: str | None = None

    def kind(self, args: Iterable[Kind]) -> Kind:
        """The kind of the result."""
        return max(Kind.INTEGER, *args) if self.result is None else self.result

    def by_formula(
        self, args: Sequence[T], apply: Callable[[str, Sequence[T]], T], constant: Callable[[float], T]
    ) -> T:
        """The formula's value, by an arithmetic that applies other operators."""
        assert self.formula is not None, f"'{self.name}' has neither a word of this arithmetic nor a formula"

        def value(expr: Expr) -> T:
            match expr:
                case IndexVar(name=place):
                    return args[int(place)]
                case Const(value=number):
                    return constant(number)
                case Op(name=name, args=inner):
                    return apply(name, [value(a) for a in inner])
                case _:
                    raise AssertionError(f"a formula of operators alone is wanted, not {expr}")

        return value(self.formula(*(IndexVar(str(n)) for n in range(len(args)))))


def _infix(
    name: str,
    symbol: str,
    result: Kind | None,
    slopes: Callable[[tuple[Expr, ...], Expr], tuple[Slope, ...]] | None = None,
    *,
    args: int = 2,
    cost: Cost = Cost.STEP,
    positive: Positive = Positive.UNKNOWN,
    total: bool = True,
) -> Operator:
    return Operator(
        name=name, symbol=symbol, result=result, min_args=args, max_args=args, cost=cost, positive=positive,
        total=total, slopes=slopes,
    )  # fmt: skip


def unary(
    name: str,
    *,
    slope: Callable[[Expr, Expr], Expr] | None,
    cost: Cost,
    positive: Positive,
    total: bool,
    sample: str,
    result: Kind | None = Kind.REAL,
    formula: Callable[[Expr], Expr] | None = None,
) -> Operator:
    """A function of one number; ``slope``: its derivative from the argument x and the value y."""
    return Operator(
        name=name, result=result, min_args=1, max_args=1, cost=cost, positive=positive, total=total,
        slopes=None if slope is None else lambda args, y: (slope(args[0], y),), formula=formula, sample=sample,
    )  # fmt: skip


def _clamped(x: Expr, low: Expr, high: Expr) -> Expr:
    return call("min", call("max", x, low), high)


NUMBER = None
_OPERATORS = (
    _infix("add", "+", NUMBER, lambda a, y: (ONE, ONE), positive=Positive.ALL),
    _infix("sub", "-", NUMBER, lambda a, y: (ONE, Const(-1.0))),
    _infix("mul", "*", NUMBER, lambda a, y: (a[1], a[0]), positive=Positive.ALL),
    _infix(
        "div", "/", Kind.REAL, lambda a, y: (div(ONE, a[1]), neg(div(y, a[1]))),
        cost=Cost.DIVISION, positive=Positive.ALL, total=False,
    ),
    _infix("floordiv", "//", NUMBER, total=False),
    _infix("mod", "%", NUMBER, lambda a, y: (ONE, neg(Op("floordiv", a))), total=False),
    _infix("pow", "**", NUMBER, slopes.of_power, cost=Cost.CALL, positive=Positive.FIRST, total=False),
    _infix("neg", "-", NUMBER, lambda a, y: (Const(-1.0),), args=1),
    *(
        _infix(name, symbol, Kind.BOOLEAN)
        for name, symbol in (
            ("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("eq", "=="), ("ne", "!="), ("and", "and"), ("or", "or"),
        )
    ),
    _infix("not", "not", Kind.BOOLEAN, args=1),
    *(
        _infix(name, symbol, Kind.INTEGER)
        for name, symbol in (("shr", ">>"), ("shl", "<<"), ("bitand", "&"), ("bitxor", "^"), ("bitor", "|"))
    ),
)  # fmt: skip

_FUNCTIONS = (
    Operator(
        name="min", result=NUMBER, min_args=2, max_args=None, cost=Cost.STEP, positive=Positive.ALL, total=True,
        slopes=slopes.of_minimum,
    ),
    Operator(
        name="max", result=NUMBER, min_args=2, max_args=None, cost=Cost.STEP, positive=Positive.ANY, total=True,
        slopes=slopes.of_maximum,
    ),
    unary(
        "abs", result=NUMBER, slope=slopes.of_abs, cost=Cost.STEP, positive=Positive.ALL, total=True, sample="abs({x})",
    ),
    Operator(
        name="clamp", result=NUMBER, min_args=3, max_args=3, cost=Cost.STEP, positive=Positive.ALL, total=True,
        slopes=slopes.of_clamp, formula=_clamped,
    ),
    unary(
        "floor", slope=None, cost=Cost.STEP, positive=Positive.UNKNOWN, total=True,
        sample="floor(2 * clamp({x}, -9, 9)) / 2",
    ),
    unary(
        "sqrt", slope=lambda x, y: div(HALF, y), cost=Cost.CALL, positive=Positive.ALL, total=False,
        sample="sqrt(abs({x}))",
    ),
    unary(
        "rsqrt", slope=lambda x, y: div(mul(Const(-0.5), y), x), cost=Cost.CALL, positive=Positive.ALL, total=False,
        formula=lambda x: div(ONE, call("sqrt", x)), sample="rsqrt(1 + abs({x}))",
    ),
    unary(
        "exp", slope=lambda x, y: y, cost=Cost.CALL, positive=Positive.ALWAYS, total=False,
        sample="exp(min({x}, 2))",
    ),
    unary(
        "exp2", slope=lambda x, y: mul(Const(log(2)), y), cost=Cost.CALL, positive=Positive.ALWAYS, total=False,
        sample="exp2(clamp({x}, -4, 2))",
    ),
    unary(
        "expm1", slope=lambda x, y: add(y, ONE), cost=Cost.CALL, positive=Positive.ALL, total=False,
        sample="expm1(min({x}, 1))",
    ),
    unary(
        "log", slope=lambda x, y: div(ONE, x), cost=Cost.CALL, positive=Positive.UNKNOWN, total=False,
        sample="log(1 + abs({x}))",
    ),
    unary(
        "log2", slope=lambda x, y: div(Const(1 / log(2)), x), cost=Cost.CALL, positive=Positive.UNKNOWN, total=False,
        sample="log2(2 + ({x}) ** 2)",
    ),
    unary(
        "log1p", slope=lambda x, y: div(ONE, add(ONE, x)), cost=Cost.CALL, positive=Positive.ALL, total=False,
        sample="log1p(abs({x}))",
    ),
    unary(
        "sin", slope=lambda x, y: call("cos", x), cost=Cost.CALL, positive=Positive.UNKNOWN, total=True,
        sample="sin({x})",
    ),
    unary(
        "cos", slope=lambda x, y: neg(call("sin", x)), cost=Cost.CALL, positive=Positive.UNKNOWN, total=True,
        sample="cos({x})",
    ),
    unary(
        "tan", slope=lambda x, y: add(ONE, mul(y, y)), cost=Cost.CALL, positive=Positive.UNKNOWN, total=False,
        formula=lambda x: div(call("sin", x), call("cos", x)), sample="tan(tanh({x}))",
    ),
    unary(
        "tanh", slope=lambda x, y: sub(ONE, mul(y, y)), cost=Cost.CALL, positive=Positive.ALL, total=True,
        sample="tanh({x})",
    ),
    unary(
        "sigmoid", slope=lambda x, y: mul(y, sub(ONE, y)), cost=Cost.CALL, positive=Positive.ALWAYS, total=True,
        formula=lambda x: div(ONE, add(ONE, call("exp", neg(x)))), sample="sigmoid({x})",
    ),
    # Without overflow.
    unary(
        "softplus", slope=lambda x, y: call("sigmoid", x), cost=Cost.CALL, positive=Positive.ALWAYS, total=True,
        formula=lambda x: add(call("max", x, ZERO), call("log1p", call("exp", neg(call("abs", x))))),
        sample="softplus({x})",
    ),
    unary(
        "silu", slope=slopes.of_silu, cost=Cost.CALL, positive=Positive.ALL, total=True,
        formula=lambda x: mul(x, call("sigmoid", x)), sample="silu({x})",
    ),
    unary(
        "gelu", slope=slopes.of_gelu, cost=Cost.CALL, positive=Positive.ALL, total=True,
        formula=lambda x: mul(mul(HALF, x), add(ONE, call("erf", mul(x, Const(1 / sqrt(2)))))), sample="gelu({x})",
    ),
    unary(
        "erf", slope=lambda x, y: mul(Const(2 / sqrt(pi)), call("exp", neg(mul(x, x)))), cost=Cost.CALL,
        positive=Positive.ALL, total=True, sample="erf({x})",
    ),
    unary(
        "relu", result=NUMBER, slope=slopes.of_relu, cost=Cost.STEP, positive=Positive.ALL, total=True,
        formula=lambda x: call("max", x, Const(0)), sample="relu({x})",
    ),
    Operator(
        name="present", result=Kind.BOOLEAN, min_args=1, max_args=1, cost=Cost.STEP, positive=Positive.UNKNOWN, total=True,
        slopes=None,
    ),
    # Of a seed and up to four coordinates.
    Operator(
        name="uniform", result=Kind.REAL, min_args=1, max_args=5, cost=Cost.CALL, positive=Positive.UNKNOWN,
        total=True, slopes=None,
    ),
)  # fmt: skip

OPERATORS: dict[str, Operator] = {operator.name: operator for operator in (*_OPERATORS, *_FUNCTIONS)}
FUNCTIONS: frozenset[str] = frozenset(o.name for o in _FUNCTIONS)
COMPARISONS: frozenset[str] = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
