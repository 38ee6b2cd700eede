"""How long the extents of indices are, as far as a plan hangs on it.

Where tensors lie in memory tells most indices apart: features are innermost. What it leaves open is asked of
the extents themselves, in classes, so that a plan serves every call whose extents fall into the same:

    one     1             a query in decoding: no tile of rows
    few     2 .. 64       heads that a tile may hold
    some    65 .. 512     what a tile may still hold
    many    513 ..        lengths

A class is asked only where another answer would give another plan, and only those asked are part of what a
program is specialised on. Where nothing is known, as for a text without sizes, the question has an answer by
the layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Const, SizeOf

FEW, SOME = 64, 512


def like(cascade: Cascade, index: str) -> str | None:
    """The index that another is as long as, where that other is one of a plan's own (`apart.py`): no argument has it."""
    size = cascade.index(index).size if cascade.declares(index) else None
    if not isinstance(size, SizeOf) or size.index == index:
        return None
    tensors = (*cascade.inputs, *cascade.outputs)
    return None if any(index in a.indices for t in tensors for a in t.axes) else size.index


def with_own_extents(cascade: Cascade, sizes: Mapping[str, int]) -> dict[str, int]:
    """Extents, those of a plan's own indices among them."""
    found = dict(sizes)
    for index in cascade.indices:
        other = like(cascade, index.name)
        if other is not None and other in sizes:
            found.setdefault(index.name, sizes[other])
    return found


class Length(IntEnum):
    """The class of an extent."""

    ONE = 1
    FEW = 2
    SOME = 3
    MANY = 4


def length_of(extent: int) -> Length:
    """The class of an extent; of none there is one row at most."""
    limits = (1, FEW, SOME)
    return Length(1 + sum(extent > limit for limit in limits))


@dataclass(frozen=True, slots=True)
class Extents:
    """What is known of extents: those that the text fixes, and classes that are ``given``. ``asked``: the
    indices whose class was asked for, in order."""

    cascade: Cascade
    given: Mapping[str, Length] = field(default_factory=dict[str, Length])
    asked: dict[str, None] = field(default_factory=dict[str, None])

    def length(self, index: str, guess: Length) -> Length:
        """The class of an index's extent; ``guess``: where it is not known."""
        index = like(self.cascade, index) or index
        size = self.cascade.index(index).size if self.cascade.declares(index) else None
        if isinstance(size, Const):
            return length_of(int(size.value))
        self.asked[index] = None
        return self.given.get(index, guess)
