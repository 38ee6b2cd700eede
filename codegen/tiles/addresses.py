"""From places along the axes of tensors to offsets in memory, for printers whose loads and stores take
pointers.

An offset is a sum of one product for each axis, of a place and a stride. What does not vary in a loop is
added first, and before the loop; what is the same for two tensors' loads is computed once. The program is
made anew: nothing of the one that speaks of places changes.
"""

from __future__ import annotations

from dataclasses import replace

from attn_dsl.codegen.naming import plain
from attn_dsl.codegen.tiles.builder import TileBuilder, named
from attn_dsl.codegen.tiles.operations import Access, Apply, Argument, Cast, Const, Lanes, Load, LoadAt
from attn_dsl.codegen.tiles.program import (
    Assign,
    Block,
    KernelBody,
    Loop,
    Node,
    Store,
    StoreAt,
    living_nodes,
)
from attn_dsl.ir.dtypes import is_float


def addressed(body: KernelBody, axis_order: tuple[str, ...]) -> KernelBody:
    """The program in which every load and store has an offset."""
    return _Addressing(body, axis_order).run()


class _Addressing:
    def __init__(self, body: KernelBody, axis_order: tuple[str, ...]) -> None:
        self._body = body
        self._living = living_nodes(body)
        self._builder = TileBuilder(axis_order)
        self._blocks: dict[Block, Block] = {}
        self._nodes: dict[Node, Node] = {}

    def run(self) -> KernelBody:
        """Block by block: what later ones add to earlier ones stands at their ends."""
        for block in self._body.blocks:
            self._blocks[block] = Block(block.order) if self._blocks else self._builder.root
        made = KernelBody([], self._body.states)
        for item in self._body.items:
            made.items.append(self._loop(item) if isinstance(item, Loop) else self._filled(item))
        return made

    def _loop(self, loop: Loop) -> Loop:
        prepare = self._filled(loop.prepare)
        self._builder.redirect(prepare, self._blocks[loop.body])
        body = self._filled(loop.body)
        self._builder.redirect()
        return replace(
            loop,
            counter=self._nodes.get(loop.counter, loop.counter),
            count=self._nodes[loop.count],
            prepare=prepare,
            condition=None if loop.condition is None else self._nodes[loop.condition],
            body=body,
        )

    def _filled(self, block: Block) -> Block:
        made = self._blocks[block]
        for item in block.items:
            match item:
                case Node() if item in self._living:
                    self._nodes[item] = self._node(item)
                case Assign(state=state, value=value):
                    made.items.append(Assign(state, self._nodes[value]))
                case Store():
                    made.items.append(self._store(item))
                case _:
                    pass
        return made

    def _node(self, node: Node) -> Node:
        operation, operands = node.operation, tuple(self._nodes[o] for o in node.operands)
        if isinstance(operation, Load):
            access, count = operation.access, len(operation.access.strides)
            offset = self._offset(access, operands[:count])
            operands = (offset, *operands[count:])
            operation = LoadAt(access.pointer, _unit(access, node.operands[:count]))
        made = self._builder.node(
            operation, *operands, axes=node.axes, dtype=node.dtype, block=self._blocks[node.block]
        )
        made.name, made.comment = node.name, node.comment
        return made

    def _store(self, store: Store) -> StoreAt:
        offset = self._offset(store.access, tuple(self._nodes[p] for p in store.places))
        mask = None if store.mask is None else self._nodes[store.mask]
        unit = _unit(store.access, store.places)
        return StoreAt(store.pointer, unit, offset, self._nodes[store.value], mask, store.adds)

    def _offset(self, access: Access, places: tuple[Node, ...]) -> Node:
        terms = [
            place if stride is None else self._made("mul", place, self._argument(stride))
            for place, stride in zip(places, access.strides, strict=True)
        ]
        terms.sort(key=lambda n: (n.block.order, len(n.axes)))
        offset = terms[0] if terms else self._builder.const(0, "i64")
        for term in terms[1:]:
            if not offset.axes and (term.axes or term.block is not offset.block):
                named(
                    offset, f"base_{plain(access.tensor)}"
                )  # where the tiles of a program, or of a turn of a loop, begin
            offset = self._made("add", offset, term)
        return named(offset, f"offset_{plain(access.tensor)}")

    def _argument(self, stride: str) -> Node:
        return self._builder.node(Argument(stride), dtype="i64")

    def _made(self, operator: str, a: Node, b: Node) -> Node:
        if operator == "add" and Const(0) in (a.operation, b.operation):
            return b if a.operation == Const(0) else a
        dtype = "i64" if "i64" in (a.dtype, b.dtype) else "i32"
        return self._builder.node(Apply(operator), self._as(a, dtype), self._as(b, dtype), dtype=dtype)

    def _as(self, node: Node, dtype: str) -> Node:
        match node.operation:
            case _ if node.dtype == dtype:
                return node
            case Const(value=value):
                return self._builder.const(value, dtype)
            case _:
                return self._builder.node(Cast(), node, dtype=dtype)


def _unit(access: Access, places: tuple[Node, ...]) -> str | None:
    """The axis of a tile along which elements lie side by side."""
    return _lanes(places[-1]) if places and access.strides[-1] is None else None


def _lanes(place: Node) -> str | None:
    """The axis along which a place grows by one."""
    match place:
        case Node(operation=Apply("add"), operands=(a, b)):
            return _lanes(a) or _lanes(b)
        case Node(operation=Cast(), operands=(inner,)) if not is_float(inner.dtype):
            return _lanes(inner)
        case Node(operation=Lanes(), axes=(axis,)):
            return axis
        case _:
            return None


__all__ = ["addressed"]
