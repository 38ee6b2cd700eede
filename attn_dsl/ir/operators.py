"""The operators and functions a scalar expression may use, with their arity and the kind of their result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ResultKind(StrEnum):
    """How the type of a result follows from the types of the arguments."""

    NUMBER = "number"  # integer where all arguments are integers or booleans, else real
    INTEGER = "integer"
    REAL = "real"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class Operator:
    """``symbol`` is the infix or prefix spelling; None for a function, which is spelt by its name."""

    name: str
    result: ResultKind
    min_args: int
    max_args: int | None
    symbol: str | None = None


def _infix(name: str, symbol: str, result: ResultKind) -> Operator:
    return Operator(name, result, 2, 2, symbol)


def _function(name: str, result: ResultKind, low: int = 1, high: int | None = 1) -> Operator:
    return Operator(name, result, low, high)


_ALL = (
    _infix("add", "+", ResultKind.NUMBER),
    _infix("sub", "-", ResultKind.NUMBER),
    _infix("mul", "*", ResultKind.NUMBER),
    _infix("div", "/", ResultKind.REAL),
    _infix("floordiv", "//", ResultKind.NUMBER),
    _infix("mod", "%", ResultKind.NUMBER),
    _infix("pow", "**", ResultKind.NUMBER),
    Operator("neg", ResultKind.NUMBER, 1, 1, "-"),
    _infix("lt", "<", ResultKind.BOOLEAN),
    _infix("le", "<=", ResultKind.BOOLEAN),
    _infix("gt", ">", ResultKind.BOOLEAN),
    _infix("ge", ">=", ResultKind.BOOLEAN),
    _infix("eq", "==", ResultKind.BOOLEAN),
    _infix("ne", "!=", ResultKind.BOOLEAN),
    _infix("and", "and", ResultKind.BOOLEAN),
    _infix("or", "or", ResultKind.BOOLEAN),
    Operator("not", ResultKind.BOOLEAN, 1, 1, "not"),
    _infix("shr", ">>", ResultKind.INTEGER),
    _infix("shl", "<<", ResultKind.INTEGER),
    _infix("bitand", "&", ResultKind.INTEGER),
    _infix("bitxor", "^", ResultKind.INTEGER),
    _infix("bitor", "|", ResultKind.INTEGER),
    _function("min", ResultKind.NUMBER, 2, None),
    _function("max", ResultKind.NUMBER, 2, None),
    _function("abs", ResultKind.NUMBER),
    _function("clamp", ResultKind.NUMBER, 3, 3),
    _function("floor", ResultKind.REAL),
    *(
        _function(name, ResultKind.REAL)
        for name in (
            "sqrt", "rsqrt", "exp", "exp2", "expm1", "log", "log2", "log1p", "sin", "cos", "tan", "tanh",
            "sigmoid", "softplus", "silu", "gelu", "erf",
        )
    ),
    _function("relu", ResultKind.NUMBER),
    _function("present", ResultKind.BOOLEAN),
    _function("uniform", ResultKind.REAL, 1, 5),
)  # fmt: skip

OPERATORS: dict[str, Operator] = {operator.name: operator for operator in _ALL}
FUNCTIONS: frozenset[str] = frozenset(o.name for o in _ALL if o.symbol is None)
COMPARISONS: frozenset[str] = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
DTYPES: tuple[str, ...] = ("i8", "i16", "i32", "i64", "u8", "bool", "f16", "bf16", "f32", "f64")
