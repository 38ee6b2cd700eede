"""The reductions, and one row for each with what the stages ask of it.

A reduction is this row, the texts of its combination in the targets (``codegen/spelling.py``) where it has an
operator of its own, its derivative (``differentiation/forward.py`` and ``reverse.py``), and the error that it
makes (``testing/rounding.py``): there, every reduction has a case, and a type checker misses the one that has
none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from attn_dsl.ir.dtypes import DTYPES, Kind

FoldKind: TypeAlias = Literal["ratio", "difference"]


class Reduction(StrEnum):
    """How several elements become one. Absent elements are skipped; over none, the result is absent."""

    SUM = "+"
    PRODUCT = "*"
    MAX = "max"
    MIN = "min"
    MEAN = "mean"
    ANY = "any"
    ALL = "all"

    @property
    def rule(self) -> Rule:
        """Its row."""
        return RULES[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``word``: in names made from it. ``combine``: the operator on two partial results. ``identity``: what
    changes nothing, as text; an infinity is the furthest that a type has. ``result``: the kind of the result;
    None where it is that of the elements, a truth value being counted. ``direction``: 1 for what rises with
    every element it meets, -1 for what falls, 0 else. ``is_additive``: f(a x + b y) = a f(x) + b f(y).
    ``keeps_positive``: whether what is positive stays so. ``corrections``: what may be done to a partial
    result in place of its elements, the cheapest first; a ratio must be positive where there is a direction.
    ``torch``, ``scatter``: torch's reductions, along an axis and to computed places."""

    word: str
    combine: str
    identity: Literal["0", "1", "-inf", "inf"]
    result: Kind | None
    direction: Literal[-1, 0, 1]
    is_additive: bool
    keeps_positive: bool
    corrections: tuple[FoldKind, ...]
    torch: str
    scatter: str

    @property
    def of_truths(self) -> bool:
        """Whether it takes and gives truth values."""
        return self.result is Kind.BOOLEAN


RULES: dict[Reduction, Rule] = {
    Reduction.SUM: Rule(
        word="sum", combine="add", identity="0", result=None, direction=0, is_additive=True, keeps_positive=True,
        corrections=("ratio",), torch="sum", scatter="sum",
    ),
    Reduction.PRODUCT: Rule(
        word="product", combine="mul", identity="1", result=None, direction=0, is_additive=False, keeps_positive=True,
        corrections=(), torch="prod", scatter="prod",
    ),
    Reduction.MAX: Rule(
        word="max", combine="max", identity="-inf", result=None, direction=1, is_additive=False, keeps_positive=True,
        corrections=("difference", "ratio"), torch="amax", scatter="amax",
    ),
    Reduction.MIN: Rule(
        word="min", combine="min", identity="inf", result=None, direction=-1, is_additive=False, keeps_positive=True,
        corrections=("difference", "ratio"), torch="amin", scatter="amin",
    ),
    # A sum until it is divided by the number of its elements.
    Reduction.MEAN: Rule(
        word="mean", combine="add", identity="0", result=Kind.REAL, direction=0, is_additive=True, keeps_positive=True,
        corrections=("ratio",), torch="sum", scatter="sum",
    ),
    Reduction.ANY: Rule(
        word="any", combine="or", identity="0", result=Kind.BOOLEAN, direction=0, is_additive=False,
        keeps_positive=False, corrections=(), torch="any", scatter="amax",
    ),
    Reduction.ALL: Rule(
        word="all", combine="and", identity="1", result=Kind.BOOLEAN, direction=0, is_additive=False,
        keeps_positive=False, corrections=(), torch="all", scatter="amin",
    ),
}  # fmt: skip


def identity(text: str, dtype: str) -> float | int | bool:
    """An identity as a number of a type."""
    row = DTYPES[dtype]
    match row.kind:
        case Kind.BOOLEAN:
            return text == "1"
        case Kind.REAL:
            return float(text)
        case Kind.INTEGER:
            low, high = row.limits
            return low if text == "-inf" else high if text == "inf" else int(text)
