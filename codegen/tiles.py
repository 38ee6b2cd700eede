"""The tile program: what a kernel does, in terms every target prints.

A `Node` is a value: a scalar, or a tile over named axes (``i`` rows, ``j`` stream, ``d`` features), of one
dtype. Nodes are made once in each block (equal ones are shared) and live in the outermost block where their
operands exist, so what does not vary in a loop is computed before it. A `Block` is straight-line; a `Loop`
holds one as its body. ``State`` is a value carried round loops: an accumulator.

Operations are few and target-neutral: ``argument const coordinate state load where cast dot reduce expand``
and the operators and functions of the language.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from attn_dsl.analysis.iteration import IterationPlan
from attn_dsl.ir.expr import Expr


@dataclass(eq=False, slots=True, repr=False)
class Node:
    """One value. ``attributes`` hold what is not a node (a constant, an axis, a tensor's name); ``name`` is
    the user's name for it, where it has one, and ``comment`` the statement it comes from."""

    operation: str
    operands: tuple[Node, ...]
    axes: tuple[str, ...]
    dtype: str
    attributes: tuple[Any, ...]
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
    """Write a tile: ``offset`` in elements from the tensor's base, where ``mask`` holds (None: everywhere).
    ``adds``: to what is there, where lanes may share a place."""

    tensor: str
    offset: Node
    value: Node
    mask: Node | None
    adds: bool = False


@dataclass(frozen=True, slots=True)
class Visits:
    """The tiles a loop is for, in the terms of the analysis: those between the bounds of ``plan`` along ``stream``;
    of them, where ``tested`` is given, those in which it may hold by interval arithmetic. ``guard``: the elements
    that count. ``share``: ``full``, the tiles in which every element counts; ``rest``, the others; or ``all``."""

    stream: tuple[str, ...]
    plan: IterationPlan
    guard: Expr
    tested: Expr | None
    share: str


@dataclass(eq=False, slots=True, repr=False)
class Loop:
    """``for counter in range(count)``: the body runs once a tile; ``condition`` skips it where false. ``visits`` says
    the same as these, for those who count."""

    counter: Node
    count: Node
    prepare: Block
    condition: Node | None
    body: Block
    comment: str
    visits: Visits


Item = Node | Assign | Store | Loop | State


@dataclass(eq=False, slots=True, repr=False)
class Block:
    """Straight-line items. ``order``: blocks of larger order see the values of smaller ones."""

    order: int
    items: list[Item] = field(default_factory=list)
    known: dict[tuple[Any, ...], Node] = field(default_factory=dict)


@dataclass(slots=True, repr=False)
class KernelBody:
    """The tile program of one kernel: blocks and loops in order, and the states they carry."""

    items: list[Block | Loop] = field(default_factory=list)
    states: list[State] = field(default_factory=list)


class TileBuilder:
    """Makes nodes, each once a block, in the outermost block that has its operands."""

    def __init__(self, axis_order: tuple[str, ...]) -> None:
        self.axis_order = axis_order
        self.root = Block(0)
        self.redirected: tuple[Block, Block] | None = None

    def node(
        self,
        operation: str,
        *operands: Node,
        axes: tuple[str, ...] | None = None,
        dtype: str,
        attributes: tuple[Any, ...] = (),
        block: Block | None = None,
    ) -> Node:
        """A node; ``axes`` default to the union of the operands', ``block`` to the innermost of theirs."""
        place = max((o.block for o in operands), key=lambda b: b.order, default=self.root)
        if block is not None and block.order > place.order:
            place = block
        shape = self.union(*operands) if axes is None else self.ordered(axes)
        key = (operation, tuple(id(o) for o in operands), shape, dtype, attributes)
        found = place.known.get(key)
        if found is None and self.redirected is not None and place is self.redirected[0]:
            place = self.redirected[1]
            found = place.known.get(key)
        if found is None:
            found = Node(operation, operands, shape, dtype, attributes, place)
            place.known[key] = found
            place.items.append(found)
        return found

    def redirect(self, source: Block | None = None, target: Block | None = None) -> None:
        """Put further nodes of one block into another: the work of a loop under its condition."""
        self.redirected = None if source is None or target is None else (source, target)

    def union(self, *nodes: Node) -> tuple[str, ...]:
        """The axes of a pointwise operation on the nodes."""
        return self.ordered({axis for node in nodes for axis in node.axes})

    def ordered(self, axes: set[str] | tuple[str, ...]) -> tuple[str, ...]:
        """Axes in the kernel's canonical order: rows, stream, features."""
        return tuple(a for a in self.axis_order if a in axes)

    def const(self, value: float | bool, dtype: str | None = None) -> Node:
        """A literal."""
        kind = dtype or _literal_dtype(value)
        return self.node("const", dtype=kind, attributes=(repr(value),))


def _literal_dtype(value: float | bool) -> str:
    match value:
        case bool():
            return "bool"
        case int():
            return "i32" if -(2**31) <= value < 2**31 else "i64"
        case _:
            return "f32"


def named(node: Node, name: str) -> Node:
    """The node, called so in the source unless it has a name or needs none."""
    if node.name is None and node.operation not in ("const", "argument", "state", "load", "counter"):
        node.name = name
    return node


def roots_of(block: Block) -> Iterator[Node]:
    """What the items of a block store and carry on."""
    for item in block.items:
        match item:
            case Assign(value=value):
                yield value
            case Store(offset=offset, value=value, mask=mask):
                yield from (offset, value, *(() if mask is None else (mask,)))
            case _:
                pass


def living_nodes(body: KernelBody) -> dict[int, Node]:
    """The nodes, by id, that something stored or carried depends on; others are not printed."""
    pending: list[Node] = []
    for item in body.items:
        for block in (item.prepare, item.body) if isinstance(item, Loop) else (item,):
            pending += roots_of(block)
        if isinstance(item, Loop):
            pending += [item.count] if item.condition is None else [item.count, item.condition]
    found: dict[int, Node] = {}
    while pending:
        node = pending.pop()
        if id(node) not in found:
            found[id(node)] = node
            pending += node.operands
    return found
