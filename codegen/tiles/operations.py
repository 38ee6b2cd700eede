"""What a node of the tile program does: its operands stand in the node, everything else here.

Const Argument Program Part Counter Lanes TileSize Current     values that have no operands
Load Gather                                                    of a tensor in memory, of a tile
Apply Cast Choose Counted                                      lane by lane
Dot Reduce                                                     over axes
LoadAt                                                         a load whose places have become one offset
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    """A literal. Two are the same if they are written the same: -0.0 is another than 0.0, and nan is nan."""

    value: float | int | bool

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Const) and repr(self.value) == repr(other.value)

    def __hash__(self) -> int:
        return hash(repr(self.value))


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of the kernel that is a number, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Program:
    """The number of the program."""


@dataclass(frozen=True, slots=True)
class Part:
    """The number of the part to which the program adds what it sends to computed places."""


@dataclass(frozen=True, slots=True)
class Counter:
    """The counter of a loop, by the loop's number."""

    loop: int


@dataclass(frozen=True, slots=True)
class Lanes:
    """The numbers of the lanes along the node's one axis, from 0."""


@dataclass(frozen=True, slots=True)
class TileSize:
    """How many lanes a tile has of an index."""

    index: str


@dataclass(frozen=True, slots=True)
class Current:
    """The value of a state at the start of the node's block."""

    state: str


@dataclass(frozen=True, slots=True)
class Access:
    """Elements of a tensor in memory, by a place along each of its axes. ``pointer``: the argument that holds
    its address; ``strides``: those that hold the stride of each axis, None where that is one."""

    tensor: str
    pointer: str
    strides: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """Operands: a place (an integer) along each axis of what is accessed; after them, where there is one, the
    mask. Lanes where that fails read 0."""

    access: Access


@dataclass(frozen=True, slots=True)
class LoadAt:
    """Operands: an offset from ``pointer`` in elements; after it, where there is one, the mask. ``unit``: the
    axis of the tile along which elements lie side by side."""

    pointer: str
    unit: str | None


@dataclass(frozen=True, slots=True)
class Gather:
    """Operands: a tile, and for each lane of the result where along ``axis`` of it the value stands."""

    axis: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operator or function of the language, by name, or one of a machine: ``ufloordiv`` and ``umod`` of a
    non-negative by a positive integer, ``wrapping_add`` (sub, mul, neg), ``any_shl`` and ``any_shr`` by any
    count."""

    name: str


@dataclass(frozen=True, slots=True)
class Cast:
    """To the dtype of the node."""


@dataclass(frozen=True, slots=True)
class Choose:
    """Operands: a truth value, what is taken where it holds, what elsewhere."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Operands: which lanes count, and their value; -0 where they do not, and nowhere else, for a product
    that leaves them out."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A product of two operands, summed over axes that both have; of three, added to the third. ``operand``:
    the dtype in which factors are taken; ``skips``: whether lanes of the first that hold -0 are left out,
    whatever stands beside them."""

    over: tuple[str, ...]
    operand: str
    skips: bool


@dataclass(frozen=True, slots=True)
class Reduce:
    """The operand reduced along an axis by an associative operator of the language (``add mul max min or
    and``)."""

    by: str
    axis: str


Operation = (
    Const | Argument | Program | Part | Counter | Lanes | TileSize | Current
    | Load | LoadAt | Gather | Apply | Cast | Choose | Counted | Dot | Reduce
)  # fmt: skip

__all__ = [
    "Access", "Apply", "Argument", "Cast", "Choose", "Const", "Counted", "Counter", "Current", "Dot", "Gather",
    "Lanes", "Load", "LoadAt", "Operation", "Part", "Program", "Reduce", "TileSize",
]  # fmt: skip
