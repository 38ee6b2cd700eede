"""Results written to memory, and where they exist."""

from __future__ import annotations

from attn_dsl.analysis.logic import PRESENT
from attn_dsl.codegen.lowering.context import TRUE, Scope
from attn_dsl.codegen.lowering.ranges import TileRange
from attn_dsl.codegen.lowering.stream.assembly import Assembly, Builder
from attn_dsl.codegen.lowering.stream.coordinates import Coordinates
from attn_dsl.codegen.tiles import Block, Counter, Loop, Node, Share, Store, Visits
from attn_dsl.ir.expr import IndexVar, Read
from attn_dsl.planning.partition import contribution_streams


class Stores(Builder):
    """Stores what a kernel is for."""

    def __init__(self, kernel: Assembly, coordinates: Coordinates) -> None:
        super().__init__(kernel)
        self.coordinates = coordinates

    def pairs(self) -> None:
        """Tensors over a stream: a loop each."""
        for name in self.context.plan.pair_stores:
            stream = next(
                self.context.flow.in_order(s)
                for t in self.context.plan.targets
                for s in contribution_streams(self.context.flow, self.context.roles, t)
                if s <= set(self.context.flow.dims(name))
            )
            self.kernel.segment()
            plan = self.kernel.iteration(TRUE, stream)
            boxes = [
                self.kernel.ranges.tile_range(
                    plan.terms[0], s, self.context.tiles.streams[s], self.kernel.scope, full=False
                )
                for s in stream
            ]
            self._pair_store(name, Visits(stream, plan, TRUE, None, Share.ALL), boxes)

    def store(self, name: str, scope: Scope) -> None:
        """One tensor; 0 where it does not exist."""
        context = self.context
        if self.kernel.is_sent(name):
            for part in context.definition(name):
                conditions = self.kernel.conditions(part, scope)
                scope.block.items.append(self.kernel.sender.store(part, conditions, scope))
            return
        read = Read(name, tuple(IndexVar(d) for d in context.flow.dims(name)))
        value = self.expressions.lower(read, scope)
        exists = self.kernel.presence_stored(name)
        if exists != TRUE:
            condition = self.expressions.lower(exists, scope)
            zero = self.builder.const(False) if value.dtype == "bool" else self.builder.const(0, value.dtype)
            stored = self.expressions.where(condition, value, zero)
        else:
            stored = value
        self._write(name, read, stored, scope)

    def presence(self, name: str, scope: Scope) -> None:
        """Where one exists."""
        read = Read(name, tuple(IndexVar(d) for d in self.context.flow.dims(name)))
        exists = self.context.flow.guards.presence(read)
        node = self.builder.const(True) if exists == TRUE else self.expressions.lower(exists, scope)
        flag = Read(PRESENT + name, read.indices)
        along = {d for axis in self.context.storage[flag.tensor].axes for d in axis}
        rows = self.context.row_axis if along & {*self.context.plan.rows} else None
        node = self.contraction.tiles.reduce_tile(
            "or", node, tuple(a for a in node.axes if a not in {*along, rows})
        )
        self._write(flag.tensor, flag, self.expressions.cast(node, "i8"), scope, self._first(along, scope))

    def _first(self, along: set[str], scope: Scope) -> Node | None:
        """Of the programs that have the same to store, at the same places, the first one: others would race
        with it."""
        zero = self.builder.const(0)
        others = [d for d in (*self.context.plan.programs, *self.context.plan.rows) if d not in along]
        return self.expressions.all_of(
            [self.expressions.operate("eq", scope.endpoints[f"lo:{d}"], zero) for d in others]
        )

    def _pair_store(self, name: str, visits: Visits, boxes: list[TileRange]) -> None:
        counts = [self.expressions.operate("sub", b.end, b.first) for b in boxes]
        order = self.kernel.next_order()
        prepare, body = Block(order), Block(order + 1)
        counter = self.builder.node(Counter(order), dtype="i32", block=prepare)
        steps = self.coordinates.unravelled(counter, counts)
        at = [self.expressions.operate("add", b.first, s) for b, s in zip(boxes, steps, strict=True)]
        scope = self.kernel.scope.inner(prepare, {}, visits.stream)
        self.coordinates.stream(scope, at)
        scope.block = body
        count = self.coordinates.product(counts)
        self.kernel.body.items.append(Loop(counter, count, prepare, None, body, visits, name))
        self.store(name, scope)

    def _write(self, name: str, read: Read, value: Node, scope: Scope, only: Node | None = None) -> None:
        storage = self.context.storage[name]
        access, places, inside = self.expressions.access(read, scope)
        mask = self.expressions.all_of([m for m in (inside, only) if m is not None])
        scope.block.items.append(Store(access, places, self.expressions.cast(value, storage.dtype), mask))
