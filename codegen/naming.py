"""The names of a kernel's text: one for each thing that it speaks of.

What a symbol stands for is its identity: the pointer of a tensor, one of its strides, the extent of an index,
the value of a tensor. So no two can be one by the way their names are put together. A `Namer` gives each a
text: the one that a reader expects, or, where that is another's or a word of the language printed, the next
one that is free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from attn_dsl.codegen.program import ArgumentSource


@dataclass(frozen=True, slots=True)
class Value:
    """What the file calls by this name."""

    tensor: str


@dataclass(frozen=True, slots=True)
class Flag:
    """Whether a tensor exists, carried round loops."""

    tensor: str


@dataclass(frozen=True, slots=True)
class Tile:
    """How many lanes of an index a tile has."""

    index: str


@dataclass(frozen=True, slots=True)
class Lane:
    """The current lane of an axis."""

    axis: str


Symbol = ArgumentSource | Value | Flag | Tile | Lane


@dataclass(slots=True)
class Namer:
    """Names in one kernel. ``is_reserved``: whether a name means something else in the language printed. What
    the file names comes first, so that it keeps its names."""

    is_reserved: Callable[[str], bool]
    texts: dict[Symbol, str] = field(default_factory=dict)

    def claim(self, symbol: Symbol, wanted: str) -> str:
        """The text of a symbol, from now on."""
        if symbol not in self.texts:
            self.texts[symbol] = self.free(wanted, self.texts.values())
        return self.texts[symbol]

    def free(self, wanted: str, taken: Iterable[str]) -> str:
        """A name that means nothing yet."""
        base = name = f"{wanted}_" if self.is_reserved(wanted) else wanted
        number, used = 1, {*taken}
        while name in used:
            name, number = f"{base}_{number}", number + 1
        return name


def joint_axis(indices: Iterable[str]) -> str:
    """The axis whose lanes several indices share; no index is called so."""
    return ":".join(indices)


def plain(name: str) -> str:
    """A name of ours as a part of a word: presences, bands and joint axes have a colon, which no name of a
    file's has."""
    return name.replace(":", "_")
