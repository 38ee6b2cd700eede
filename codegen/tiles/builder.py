"""Makes the nodes of a tile program."""

from __future__ import annotations

from attn_dsl.codegen.tiles.operations import Argument, Const, Counter, Current, Load, LoadAt, Operation
from attn_dsl.codegen.tiles.program import Block, Node

_Key = tuple[Operation, tuple[Node, ...], tuple[str, ...], str]


class TileBuilder:
    """Makes nodes, each once a block, in the outermost block that has its operands. ``axis_order``: in which
    every tile has its axes: rows, streams, features."""

    def __init__(self, axis_order: tuple[str, ...]) -> None:
        self.axis_order = axis_order
        self.root = Block(0)
        self._known: dict[Block, dict[_Key, Node]] = {}
        self._redirected: tuple[Block, Block] | None = None

    def node(
        self,
        operation: Operation,
        *operands: Node,
        axes: tuple[str, ...] | None = None,
        dtype: str,
        block: Block | None = None,
    ) -> Node:
        """A node; ``axes`` default to the union of the operands', ``block`` to the innermost of theirs."""
        place = max((o.block for o in operands), key=lambda b: b.order, default=self.root)
        if block is not None and block.order > place.order:
            place = block
        shape = self.union(*operands) if axes is None else self.ordered(axes)
        key = (operation, operands, shape, dtype)
        found = self._known.get(place, {}).get(key)
        if found is None and self._redirected is not None and place is self._redirected[0]:
            place = self._redirected[1]
            found = self._known.get(place, {}).get(key)
        if found is None:
            found = Node(operation, operands, shape, dtype, place)
            self._known.setdefault(place, {})[key] = found
            place.items.append(found)
        return found

    def redirect(self, source: Block | None = None, target: Block | None = None) -> None:
        """Put further nodes of one block into another: the work of a loop under its condition."""
        self._redirected = None if source is None or target is None else (source, target)

    def union(self, *nodes: Node) -> tuple[str, ...]:
        """The axes of a pointwise operation on the nodes."""
        return self.ordered({axis for node in nodes for axis in node.axes})

    def ordered(self, axes: set[str] | tuple[str, ...]) -> tuple[str, ...]:
        """Axes in the kernel's canonical order: rows, stream, features."""
        return tuple(a for a in self.axis_order if a in axes)

    def const(self, value: float | bool, dtype: str | None = None) -> Node:
        """A literal."""
        return self.node(Const(value), dtype=dtype or _literal_dtype(value))


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
    if node.name is None and not isinstance(
        node.operation, Const | Argument | Current | Load | LoadAt | Counter
    ):
        node.name = name
    return node


__all__ = ["TileBuilder", "named"]
