"""Items to loop nests: as few passes over the lanes of a tile as their dependences allow.

Items over the same axes share a nest, where each lane's values stay in registers. A result of a reduction or
of a product is whole only after its nest, so what uses it goes into a later one. For a softmax that gives,
between the two products: scale, mask and maximum in one nest; the correction, over rows alone; exponential
and sum in a third.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from attn_dsl.codegen.targets.cpu.items import (
    Begin,
    Compute,
    Item,
    Items,
    Product,
    Reduce,
    Update,
    Write,
    operands,
)
from attn_dsl.codegen.tiles import Apply, Block, Current, Node
from attn_dsl.codegen.tiles import Reduce as TileReduce

_TURNS = (Apply("sin"), Apply("cos"), Apply("tan"))


@dataclass(eq=False, slots=True)
class Nest:
    """Items that run together over the lanes of ``axes`` (none: straight-line), or one product. ``in_order``:
    lanes may write to one place. ``turns``: angles are turned into sines; such a nest runs again where some
    are far away."""

    axes: tuple[str, ...]
    items: list[Item] = field(default_factory=list)
    is_product: bool = False
    in_order: bool = False
    turns: bool = False


class Arrangement:
    """The nests of every block of a kernel, and which nodes are stored between them."""

    def __init__(self, items: Items, axis_order: tuple[str, ...]) -> None:
        self.items = items
        self._order = axis_order
        self.nests: dict[Block, list[Nest]] = {}
        self._home: dict[Node, Nest] = {}
        for block in items.blocks:
            self.nests[block] = self._arrange(block)
        self.stored = self._stored()
        self.outliving = self._outliving()
        self.in_state = {
            i.node: i.state
            for found in items.of_block.values()
            for i in found
            if isinstance(i, Begin) and i.state is not None
        }

    def _arrange(self, block: Block) -> list[Nest]:
        nests: list[Nest] = []
        place: dict[Node, int] = {}
        reads: dict[str, int] = {}
        begun: dict[Node, int] = {}
        for item in self.items.of_block[block]:
            axes = self.ordered(domain(item))
            inputs = self.items.inputs(item)
            earliest = max((self._after(n, axes, place, nests) for n in inputs), default=0)
            if isinstance(item, Product):
                earliest = max(earliest, begun.get(item.node, -1) + 1)
            if isinstance(item, Update):
                read = reads.get(item.state.name, -1)
                earliest = max(earliest, read if read >= 0 and nests[read].axes == axes else read + 1)
            at = self._find(nests, axes, earliest, item)
            nests[at].items.append(item)
            for node in inputs:
                if isinstance(node.operation, Current):
                    name = node.operation.state
                    reads[name] = max(reads.get(name, -1), at)
            match item:
                case Compute(node=node) | Reduce(node=node) | Product(node=node):
                    place[node] = at
                    self._home[node] = nests[at]
                case Begin(node=node):
                    begun[node] = at
                case _:
                    pass
        return nests

    def ordered(self, axes: tuple[str, ...]) -> tuple[str, ...]:
        """Axes in the order of their loops: rows last, so that rows are the lanes of a vector."""
        return tuple(a for a in (*self._order[1:], *self._order[:1]) if a in axes)

    def _after(self, node: Node, axes: tuple[str, ...], place: dict[Node, int], nests: list[Nest]) -> int:
        """The first nest that may use a node, at the axes of its user."""
        at = place.get(node)
        if at is None:
            return 0
        lane_by_lane = (
            not nests[at].is_product and not isinstance(node.operation, TileReduce) and nests[at].axes == axes
        )
        return at if lane_by_lane else at + 1

    def _find(self, nests: list[Nest], axes: tuple[str, ...], earliest: int, item: Item) -> int:
        """The nest that an item joins; products, and what adds to computed places, have one of their own."""
        is_product, in_order = isinstance(item, Product), isinstance(item, Write) and item.store.adds
        turns = isinstance(item, Compute) and is_turn(item.node)
        if not (is_product or in_order):
            for at in range(earliest, len(nests)):
                alone = nests[at].is_product or nests[at].in_order
                if nests[at].axes == axes and not alone and _repeats(nests[at], item, turns):
                    nests[at].turns |= turns
                    return at
        nests.append(Nest(axes, is_product=is_product, in_order=in_order, turns=turns))
        return len(nests) - 1

    def _stored(self) -> set[Node]:
        """Nodes whose lanes are kept in an array: used outside their nest, or by a product, whole."""
        stored: set[Node] = set()
        for block in self.items.blocks:
            for nest in self.nests[block]:
                for item in nest.items:
                    for node in self.items.inputs(item):
                        if (
                            node.axes
                            and not isinstance(node.operation, Current)
                            and self._home.get(node) is not nest
                        ):
                            stored.add(node)
                    if isinstance(item, Reduce | Product):
                        stored.add(item.node)
                    if isinstance(item, Product):
                        stored.update(
                            o for o in item.node.operands[:2] if not isinstance(o.operation, Current)
                        )
        return stored

    def _outliving(self) -> set[Node]:
        """Scalars used outside their nest."""
        return {
            node
            for block in self.items.blocks
            for nest in self.nests[block]
            for item in nest.items
            for node in self.items.inputs(item)
            if not node.axes and self._home.get(node) is not nest
        }


def is_turn(node: Node) -> bool:
    """Whether a node is a function of an angle that is reduced to a quarter turn, which is cheap for small
    ones."""
    return node.operation in _TURNS and node.dtype == "f32"


def _repeats(nest: Nest, item: Item, turns: bool) -> bool:
    """Whether an item may stand in a nest: one that turns angles must give the same when it runs twice."""
    items = (*nest.items, item) if nest.turns or turns else ()
    return all(isinstance(i, Compute | Write) for i in items)


def domain(item: Item) -> tuple[str, ...]:
    """The axes an item runs over."""
    match item:
        case Compute(node=node) | Begin(node=node):
            return node.axes
        case Reduce(node=node):
            return node.operands[0].axes
        case Product():
            return ()
        case Update(state=state):
            return state.axes
        case Write(store=store):
            found = {a: None for n in operands(Write(store)) for a in n.axes}
            return tuple(found)
