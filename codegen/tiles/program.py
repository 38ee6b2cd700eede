"""The tile program of a kernel: nodes in blocks, loops over blocks, and the states they carry.

A `Node` is a value: a scalar, or a tile over named axes (``i`` rows, ``j`` stream, ``d`` features), of one
dtype. Nodes are made once in each block (equal ones are shared) and live in the outermost block where their
operands exist, so what does not vary in a loop is computed before it. A `Block` is straight-line; a `Loop`
holds one as its body. A `State` is a value carried round loops: an accumulator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from math import prod

from attn_dsl.analysis.iteration import IterationPlan
from attn_dsl.codegen.tiles.operations import Access, Operation
from attn_dsl.ir.expr import Expr


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a kernel's tiles: the indices that share its lanes, outermost first, and how many each
    has."""

    name: str
    parts: tuple[tuple[str, int], ...]

    @property
    def lanes(self) -> int:
        """Of the whole axis."""
        return prod(n for _, n in self.parts)


@dataclass(eq=False, slots=True, repr=False)
class Node:
    """One value. ``name`` is the user's for it, where it has one, and ``comment`` the statement it comes
    from."""

    operation: Operation
    operands: tuple[Node, ...]
    axes: tuple[str, ...]
    dtype: str
    block: Block
    name: str | None = None
    comment: str | None = None


@dataclass(eq=False, slots=True, repr=False)
class State:
    """A value carried round loops, of dtype f32 or f64 (i32 for counts, bool for presence)."""

    name: str
    axes: tuple[str, ...]
    dtype: str
    initial: str
    comment: str | None = None


@dataclass(eq=False, slots=True, repr=False)
class Assign:
    """``state = value``."""

    state: State
    value: Node


@dataclass(eq=False, slots=True, repr=False)
class Store:
    """Write a tile at its places along the axes of a tensor, where ``mask`` holds (None: everywhere).
    ``adds``: to what is there, where lanes may share a place."""

    access: Access
    places: tuple[Node, ...]
    value: Node
    mask: Node | None
    adds: bool = False

    @property
    def operands(self) -> tuple[Node, ...]:
        """All that it reads."""
        return (*self.places, self.value, *(() if self.mask is None else (self.mask,)))

    @property
    def pointer(self) -> str:
        """The argument with the tensor's address."""
        return self.access.pointer


@dataclass(eq=False, slots=True, repr=False)
class StoreAt:
    """The same, where the places have become one ``offset`` from ``pointer`` in elements. ``unit``: as of
    ``LoadAt``."""

    pointer: str
    unit: str | None
    offset: Node
    value: Node
    mask: Node | None
    adds: bool = False

    @property
    def operands(self) -> tuple[Node, ...]:
        """All that it reads."""
        return (self.offset, self.value, *(() if self.mask is None else (self.mask,)))


class Share(Enum):
    """The tiles of its plan that a loop is for: those in which every element counts, the others, or all."""

    FULL = "full"
    REST = "rest"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Visits:
    """The tiles a loop is for, in the terms of the analysis: those between the bounds of ``plan`` along
    ``stream``; of them, where ``tested`` is given, those in which it may hold by interval arithmetic.
    ``guard``: the elements that count."""

    stream: tuple[str, ...]
    plan: IterationPlan
    guard: Expr
    tested: Expr | None
    share: Share


@dataclass(eq=False, slots=True, repr=False)
class Loop:
    """``for counter in range(count)``: the body runs once a tile; ``condition`` skips it where false.
    ``visits`` says the same as these, for those who count. ``stores``: what it is for, where that is to store
    a tensor."""

    counter: Node
    count: Node
    prepare: Block
    condition: Node | None
    body: Block
    visits: Visits
    stores: str | None = None

    @property
    def comment(self) -> str:
        """What it is for, in words."""
        if self.stores is not None:
            return f"store {self.stores}"
        return "every element counts" if self.visits.share is Share.FULL else "masked"


Item = Node | Assign | Store | StoreAt | Loop | State


@dataclass(eq=False, slots=True, repr=False)
class Block:
    """Straight-line items. ``order``: blocks of larger order see the values of smaller ones."""

    order: int
    items: list[Item] = field(default_factory=list["Item"])


@dataclass(slots=True, repr=False)
class KernelBody:
    """The tile program of one kernel: blocks and loops in order, and the states they carry."""

    items: list[Block | Loop] = field(default_factory=list["Block | Loop"])
    states: list[State] = field(default_factory=list[State])

    @property
    def blocks(self) -> Iterator[Block]:
        """All blocks, in order."""
        for item in self.items:
            yield from (item.prepare, item.body) if isinstance(item, Loop) else (item,)


def roots_of(block: Block) -> Iterator[Node]:
    """What the items of a block store and carry on."""
    for item in block.items:
        match item:
            case Assign(value=value):
                yield value
            case Store() | StoreAt():
                yield from item.operands
            case _:
                pass


def living_nodes(body: KernelBody) -> dict[Node, None]:
    """The nodes that something stored or carried depends on; others are not printed."""
    pending = [root for block in body.blocks for root in roots_of(block)]
    for loop in (i for i in body.items if isinstance(i, Loop)):
        pending += [loop.count] if loop.condition is None else [loop.count, loop.condition]
    found: dict[Node, None] = {}
    while pending:
        node = pending.pop()
        if node not in found:
            found[node] = None
            pending += node.operands
    return found


__all__ = [
    "Assign", "Axis", "Block", "Item", "KernelBody", "Loop", "Node", "Share", "State", "Store", "StoreAt", "Visits",
    "living_nodes", "roots_of",
]  # fmt: skip
