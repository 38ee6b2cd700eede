"""What the tile program of a kernel does each time one of its blocks runs: products, other operations, bytes.

The tile program is what both printers print, so nothing is modelled here: a ``dot`` over rows x keys x
features is counted as two operations a triple, a pointwise node as one a lane, a load or store as its lanes'
bytes. ``lanes`` counts what is executed, padding included; ``extents`` has the true size of every index that
a tile holds whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from attn_dsl.codegen.generation import LoweredKernel
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.targets.cpu.footprint import stack_bytes
from attn_dsl.codegen.tiles import (
    Apply,
    Argument,
    Block,
    Const,
    Counter,
    Current,
    Dot,
    Lanes,
    Load,
    Node,
    Part,
    Program,
    Reduce,
    Store,
    TileSize,
    living_nodes,
    roots_of,
)
from attn_dsl.ir.dtypes import width
from attn_dsl.ir.operators import OPERATORS, Cost

_SPECIAL = frozenset(o.name for o in OPERATORS.values() if o.cost is not Cost.STEP)
Free = Const | Argument | Current | Counter | TileSize | Program | Part | Lanes


@dataclass(slots=True)
class Work:
    """Operations and bytes. ``products``: of contractions, by operands' dtype, two a multiply-add; ``simple``
    and ``special``: lanes of other operations, those of one instruction and those of a function (exp,
    division); ``loads`` and ``stores``: bytes by tensor."""

    products: dict[str, float] = field(default_factory=dict[str, float])
    simple: float = 0
    special: float = 0
    loads: dict[str, float] = field(default_factory=dict[str, float])
    stores: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, other: Work, times: float = 1) -> None:
        """Add so many runs of a block."""
        for mine, theirs in (
            (self.products, other.products),
            (self.loads, other.loads),
            (self.stores, other.stores),
        ):
            for key, value in theirs.items():
                mine[key] = mine.get(key, 0) + value * times
        self.simple += other.simple * times
        self.special += other.special * times

    @property
    def contraction(self) -> float:
        """Operations of all products."""
        return sum(self.products.values())

    @property
    def pointwise(self) -> float:
        """All other operations."""
        return self.simple + self.special


class WorkCounter:
    """The work of one kernel's blocks."""

    def __init__(self, kernel: LoweredKernel, sizes: Mapping[str, int]) -> None:
        self.body = kernel.text.body
        self.lanes = kernel.text.lanes
        self.extents = {a: sizes[a] if a in kernel.tiles.whole else n for a, n in self.lanes.items()}
        self._alive = living_nodes(self.body)

    def executed(self, block: Block) -> Work:
        """One run of a block, all lanes."""
        return self._work(block, self.lanes)

    def needed(self, block: Block) -> Work:
        """One run of a block, without the lanes that pad an index held whole."""
        return self._work(block, self.extents)

    def _work(self, block: Block, lanes: Mapping[str, int]) -> Work:
        work = Work()
        for item in block.items:
            match item:
                case Node() if item in self._alive:
                    self._node(work, item, lanes)
                case Store(access=access, value=value, places=places):
                    axes = {a for n in (*places, value) for a in n.axes}
                    _count(work.stores, access.tensor, prod(lanes[a] for a in axes) * width(value.dtype))
                case _:
                    pass
        return work

    def _node(self, work: Work, node: Node, lanes: Mapping[str, int]) -> None:
        match node.operation:
            case Dot(over=over, operand=operand):
                points = prod(lanes[a] for a in {*node.axes, *over})
                _count(work.products, operand, 2 * points)
            case Load(access=access):
                amount = prod(lanes[a] for a in node.axes) * width(node.dtype)
                _count(work.loads, access.tensor, amount)
            case Reduce():
                work.simple += prod(lanes[a] for a in node.operands[0].axes)
            case operation if isinstance(operation, Free) or not node.axes:
                pass
            case Apply(name=name) if name in _SPECIAL and is_float(node.dtype):
                work.special += prod(lanes[a] for a in node.axes)
            case _:
                work.simple += prod(lanes[a] for a in node.axes)

    def footprint(self, *, on_cpu: bool) -> int:
        """Bytes that are alive at once in one program: its accumulators, and the values of a tile between
        their computation and their last use."""
        if on_cpu:
            return stack_bytes(self.body, self.lanes)
        blocks = self.body.blocks
        states = sum(prod(self.lanes[a] for a in s.axes) * width(s.dtype) for s in self.body.states)
        return states + max((self._peak(block) for block in blocks), default=0)

    def _peak(self, block: Block) -> int:
        nodes = [i for i in block.items if isinstance(i, Node) and i in self._alive]
        last: dict[Node, int] = {}
        for at, node in enumerate(nodes):
            last.update((operand, at) for operand in node.operands)
        last.update((n, len(nodes)) for n in roots_of(block))
        held, peak = 0, 0
        ends: dict[int, int] = {}
        for at, node in enumerate(nodes):
            if isinstance(node.operation, Free) or not node.axes:
                continue
            size = prod(self.lanes[a] for a in node.axes) * width(node.dtype)
            held += size
            peak = max(peak, held)
            ends[last.get(node, at)] = ends.get(last.get(node, at), 0) + size
            held -= ends.pop(at, 0)
        return peak


def _count(table: dict[str, float], key: str, amount: float) -> None:
    table[key] = table.get(key, 0) + amount
