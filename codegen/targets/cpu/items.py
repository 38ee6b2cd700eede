"""What a block of the tile program comes to on a CPU: items, each over the lanes of its axes.

A pointwise node is computed lane by lane; a reduction runs over its operand's lanes; a product of tiles is
one call that needs both whole, and is begun by the lanes of what it adds to. Integer and boolean nodes that
cost next to nothing (coordinates, comparisons: masks) are no items: they are computed again wherever they are
used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.tiles import (
    Apply,
    Argument,
    Assign,
    Block,
    Cast,
    Choose,
    Const,
    Counter,
    Current,
    Dot,
    Gather,
    KernelBody,
    Lanes,
    Node,
    Part,
    Program,
    State,
    StoreAt,
    TileSize,
    living_nodes,
    roots_of,
)
from attn_dsl.codegen.tiles import (
    Reduce as TileReduce,
)

# Nodes that are printed where they stand: no lanes are computed for them.
Atom = Const | Argument | Current | Counter | TileSize | Program | Part
_CHEAP = frozenset({
    "add", "sub", "mul", "neg", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "min", "max", "abs",
})  # fmt: skip
_CHEAP_INTEGERS = 12  # operations
_CHEAP_REALS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Compute:
    """A pointwise node, lane by lane."""

    node: Node


@dataclass(frozen=True, slots=True, eq=False)
class Reduce:
    """A reduction, over the lanes of its operand."""

    node: Node


@dataclass(frozen=True, slots=True, eq=False)
class Begin:
    """What a product of tiles is added to: its accumulator, or zeros. ``state``: where the sum is kept, if it
    is the next value of a state and nothing else."""

    node: Node
    state: State | None


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """A product of two tiles."""

    node: Node


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """The next value of a state, lane by lane."""

    state: State
    value: Node


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """Lanes written to memory."""

    store: StoreAt


Item = Compute | Reduce | Begin | Product | Update | Write


class Items:
    """The items of every block of a kernel, and what each reads."""

    def __init__(self, body: KernelBody) -> None:
        self._alive = living_nodes(body)
        self._cost: dict[Node, int | None] = {}
        self.states = {s.name: s for s in body.states}
        self.users: dict[Node, list[Item]] = {}
        self.blocks = list(body.blocks)
        self._factors = {o for b in self.blocks for n in b.items if isinstance(n, Node) for o in _factors(n)}
        self._sums = {a for b in self.blocks for a in self._summed(b)}
        self.of_block = {block: self._items(block) for block in self.blocks}
        for items in self.of_block.values():
            for item in items:
                for node in self.inputs(item):
                    self.users.setdefault(node, []).append(item)

    # cheap nodes

    def is_cheap(self, node: Node) -> bool:
        """Whether lanes of the node are computed wherever they are used."""
        return widens(node) or self._cheap_cost(node) is not None

    def _cheap_cost(self, node: Node) -> int | None:
        if node not in self._cost:
            self._cost[node] = self._find_cost(node)
        return self._cost[node]

    def _find_cost(self, node: Node) -> int | None:
        if not node.axes or isinstance(node.operation, Atom) or node in self._factors:
            return None
        real = is_float(node.dtype)
        match node.operation:
            case Lanes():
                return 0
            case Apply(name=name) if name in _CHEAP and not (real and name in ("min", "max")):
                pass
            case Choose() | Cast() if not real:
                pass
            case _:
                return None
        cost = 1
        for operand in node.operands:
            if isinstance(operand.operation, Current):
                return None  # by the time of its use, the state may have moved on
            inner = self._cheap_cost(operand)
            if inner is None and is_float(operand.dtype) and not real and operand.axes:
                return None  # a comparison of scores is computed once
            cost += inner or 0
        return cost if cost <= (_CHEAP_REALS if real else _CHEAP_INTEGERS) else None

    # items

    def _summed(self, block: Block) -> Iterator[Assign]:
        """States whose next value is a product of tiles and which nothing else in the block reads."""
        for assign in (i for i in block.items if isinstance(i, Assign)):
            value = assign.value
            is_added = isinstance(value.operation, Dot) and len(value.operands) > 2
            if not is_added or value.axes != assign.state.axes:
                continue
            roots = [r for r in roots_of(block) if r is not value]
            if value.dtype == assign.state.dtype and not any(
                _reads_state(r, assign.state.name, stop=value) for r in (*roots, *value.operands[:2])
            ):
                yield assign

    def _items(self, block: Block) -> list[Item]:
        items: list[Item] = []
        sums = {a.value: a for a in block.items if isinstance(a, Assign) and a in self._sums}
        for item in block.items:
            match item:
                case Node():
                    printed = isinstance(item.operation, Atom)
                    if item in self._alive and not printed and not self.is_cheap(item):
                        items += self._node_items(item, sums.get(item))
                case Assign(state=state, value=value):
                    if item not in self._sums:
                        items.append(Update(state, value))
                case StoreAt():
                    items.append(Write(item))
                case _:
                    pass
        return items

    def _node_items(self, node: Node, assigned: Assign | None) -> list[Item]:
        match node.operation:
            case TileReduce():
                return [Reduce(node)]
            case Dot(over=over):
                begun = len(node.operands) > 2 or len(over) > 1
                begin = Begin(node, None if assigned is None else assigned.state)
                return [begin, Product(node)] if begun else [Product(node)]
            case _:
                return [Compute(node)]

    # what items read

    def inputs(self, item: Item) -> list[Node]:
        """The nodes an item needs the value of, cheap ones replaced by what they need; states included."""
        found: dict[Node, None] = {}
        pending = list(operands(item))
        while pending:
            node = pending.pop()
            if isinstance(node.operation, Atom) and not isinstance(node.operation, Current):
                continue
            if self.is_cheap(node):
                pending += node.operands
            else:
                found[node] = None
        return list(found)


def operands(item: Item) -> tuple[Node, ...]:
    """The nodes that stand in an item's expression."""
    match item:
        case Compute(node=node) | Reduce(node=node):
            return node.operands
        case Begin(node=node):
            return node.operands[2:]
        case Product(node=node):
            return node.operands[:2]
        case Update(value=value):
            return (value,)
        case Write(store=store):
            return store.operands


def widens(node: Node) -> bool:
    """Whether a node is an integer of 32 bits as one of 64, which C++ makes of it where it meets one."""
    return isinstance(node.operation, Cast) and node.dtype == "i64" and node.operands[0].dtype == "i32"


def _factors(node: Node) -> tuple[Node, ...]:
    """What a node needs whole: the factors of a product, and what is gathered from."""
    match node.operation:
        case Dot():
            return node.operands[:2]
        case Gather():
            return node.operands[:1]
        case _:
            return ()


def _reads_state(node: Node, state: str, stop: Node) -> bool:
    """Whether a value depends on a state other than through ``stop``."""
    pending, seen = [node], set[Node]()
    while pending:
        current = pending.pop()
        if current in seen or current is stop:
            continue
        seen.add(current)
        if current.operation == Current(state):
            return True
        pending += current.operands
    return False
