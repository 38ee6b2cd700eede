"""Live elements: where a guard holds, exactly, or between two bounds where that depends on what is not
given."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from attn_dsl.account.counting import TooManyPoints, count
from attn_dsl.account.unknown import settled, why_unknown
from attn_dsl.account.values import Facts, grid
from attn_dsl.ir.expr import Expr


@dataclass(frozen=True, slots=True)
class Live:
    """``low <= live <= high`` of ``total`` elements; equal where the count is exact, else ``reason`` says why
    not."""

    low: int
    high: int
    total: int
    reason: str = ""

    @property
    def exact(self) -> bool:
        """Whether the two bounds meet."""
        return self.low == self.high

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "low": self.low,
            "high": self.high,
            "total": self.total,
            "exact": self.exact,
            "reason": self.reason,
        }

    def __str__(self) -> str:
        share = f" of {self.total:,}" + (f" ({self.high / self.total:.2%})" if self.total else "")
        if self.exact:
            return f"{self.high:,}{share}"
        return f"{self.low:,} to {self.high:,}{share}; {self.reason}"


def count_live(guard: Expr, indices: tuple[str, ...], streams: frozenset[str], facts: Facts) -> Live:
    """The elements of a guard over the whole extent of some indices."""
    lengths = {i: facts.sizes[i] for i in indices}
    total = prod(lengths.values())
    known = facts.knows(guard)
    bounds: list[int] = []
    reason = "" if known else why_unknown(guard, facts)
    for unknown in (True,) if known else (False, True):
        try:
            bounds.append(count(settled(guard, facts, unknown), grid(lengths), streams, facts))
        except TooManyPoints as found:
            bounds.append(total if unknown else 0)
            reason = f"no closed form, and {found}"
            known = known and total == 0
    if reason and len(bounds) == 1:
        return Live(0, bounds[0], total, reason)
    return Live(bounds[0], bounds[-1], total, "" if bounds[0] == bounds[-1] else reason)
