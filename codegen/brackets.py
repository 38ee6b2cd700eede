"""Expressions as text, with brackets where the language printed needs them, and no others.

A `Text` knows how tightly its outermost operator binds. What an operator takes as an operand goes in brackets
where it binds less tightly, or as tightly on the wrong side: arithmetic on reals is not associative, so ``a +
(b + c)`` keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ATOM, UNARY = 20, 13


@dataclass(frozen=True, slots=True)
class Text:
    """An expression. ``level``: of its outermost operator; a name, a call, a subscript binds most tightly."""

    text: str
    level: int = ATOM

    def __str__(self) -> str:
        return self.text

    def at(self, least: int) -> str:
        """The text as an operand of what binds at ``least`` that tightly."""
        return self.text if self.level >= least else f"({self.text})"

    @property
    def atom(self) -> str:
        """The text before ``.method()`` or ``[...]``."""
        return self.at(ATOM)


@dataclass(frozen=True, slots=True)
class Infix:
    """A binary operator: how it is written and how tightly it binds. ``operands``: how tightly they must,
    where that is more: comparisons do not chain, and a reader should not have to know how ``&`` and ``<``
    bind."""

    symbol: str
    level: int
    operands: int = 0

    def of(self, a: Text, b: Text) -> Text:
        """The operator applied."""
        chains = a.level == self.level and self.level <= AND  # no two of these bind alike
        left = a.text if chains else a.at(max(self.level, self.operands))
        least = UNARY if self.level >= QUOTIENT else self.level + 1  # quotients and products bind alike
        return Text(f"{left} {self.symbol} {b.at(max(least, self.operands))}", self.level)


CHOICE, OR, XOR, AND, COMPARISON, SHIFT, SUM, QUOTIENT, PRODUCT = 1, 3, 4, 5, 8, 9, 10, 11, 12


def infix(*, division: str, remainder: str, product: str = "*") -> Mapping[str, Infix]:
    """The operators of a language by their names in the tile program; ``division``: of non-negative
    integers."""
    bits = {
        "or": ("|", OR),
        "bitor": ("|", OR),
        "bitxor": ("^", XOR),
        "and": ("&", AND),
        "bitand": ("&", AND),
    }
    comparisons = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
    return {
        **{name: Infix(symbol, level, SHIFT) for name, (symbol, level) in bits.items()},
        **{name: Infix(symbol, COMPARISON, SHIFT) for name, symbol in comparisons.items()},
        "shl": Infix("<<", SHIFT, SUM),
        "shr": Infix(">>", SHIFT, SUM),
        "add": Infix("+", SUM),
        "sub": Infix("-", SUM),
        "mul": Infix(product, PRODUCT),
        "div": Infix("/", QUOTIENT),
        "ufloordiv": Infix(division, QUOTIENT),
        "umod": Infix(remainder, QUOTIENT),
    }


def negated(operand: Text, symbol: str = "-") -> Text:
    """A prefix operator applied."""
    return Text(f"{symbol}{operand.at(UNARY + 1)}", UNARY)


def number(text: str) -> Text:
    """A literal, which may have a sign."""
    return Text(text, UNARY if text.startswith("-") else ATOM)
