"""Loops over the tiles of a stream: those in which every element counts first, without masks; the rest
follow, masked."""

from __future__ import annotations

from collections.abc import Callable

from attn_dsl.analysis.interval import interval_test
from attn_dsl.analysis.iteration import IterationPlan, Term
from attn_dsl.analysis.logic import disjunction
from attn_dsl.analysis.widths import RANGES
from attn_dsl.codegen.lowering.context import TRUE, Scope
from attn_dsl.codegen.lowering.ranges import TileRange
from attn_dsl.codegen.lowering.stream.assembly import Assembly, Builder, Work
from attn_dsl.codegen.lowering.stream.coordinates import Coordinates
from attn_dsl.codegen.lowering.stream.updating import Updates
from attn_dsl.codegen.tiles import Block, Counter, Loop, Node, Share, Visits, named
from attn_dsl.ir.expr import Expr, IndexVar


class Visitor(Builder):
    """Visits the tiles of a stream that an iteration plan names."""

    def __init__(self, kernel: Assembly, coordinates: Coordinates, updates: Updates) -> None:
        super().__init__(kernel)
        self.coordinates = coordinates
        self.updates = updates

    def loops(self, work: Work, plan: IterationPlan) -> None:
        """The loops of a phase."""
        phase, guards = work.phase, work.guards
        guard = disjunction(*guards.values())
        if not plan.terms:
            return
        if len(phase.stream) == 1:
            tile = self.context.tiles.streams[phase.stream[0]]
            mixed = any(self._closed(t) for t in plan.terms) and len(set(guards.values())) == 1
            found = [
                self.kernel.ranges.tile_range(
                    t, phase.stream[0], tile, self.kernel.scope, full=mixed and self._closed(t)
                )
                for t in plan.terms
            ]
            found = self.kernel.ranges.disjoint(found, phase.stream[0])
            pieces = [(r.full_first, r.full_end) for r in found]
            partial = [p for r in found for p in ((r.first, r.full_first), (r.full_end, r.end))]
            if mixed:
                inside = Visits(phase.stream, plan, guard, None, Share.FULL)
                self._loop(work.unmasked(), pieces, TRUE, inside)
            partial = partial if mixed else [(r.first, r.end) for r in found]
            test = TRUE if plan.closed_form else guard
            rest = Visits(phase.stream, plan, guard, _tested(test), Share.REST if mixed else Share.ALL)
            self._loop(work, partial, test, rest)
            return
        self._box_loops(work, plan)

    def _closed(self, term: Term) -> bool:
        return not term.residual

    def _box_loops(self, work: Work, plan: IterationPlan) -> None:
        """Several stream indices: the box of tiles that holds every term, those inside without masks."""
        phase, guard = work.phase, disjunction(*work.guards.values())
        full = len(set(work.guards.values())) == 1 and len(plan.terms) == 1 and plan.closed_form
        boxes: list[TileRange] = []
        for index in phase.stream:
            tile = self.context.tiles.streams[index]
            found = [
                self.kernel.ranges.tile_range(t, index, tile, self.kernel.scope, full=full)
                for t in plan.terms
            ]
            first, end = found[0].first, self._last_needed(found[0])
            for other in found[1:]:
                first = self.expressions.operate("min", first, other.first)
                end = self.expressions.operate("max", end, self._last_needed(other))
            end = self.expressions.operate("max", end, first)
            boxes.append(TileRange(first, end, found[0].full_first, found[0].full_end))
        if full:
            inner = [TileRange(b.full_first, b.full_end, b.full_first, b.full_end) for b in boxes]
            inside = Visits(phase.stream, plan, guard, None, Share.FULL)
            self._box_loop(work.unmasked(), inner, TRUE, inside, hole=None)
        exact = plan.closed_form and len(plan.terms) == 1
        test = TRUE if exact else guard
        hole = boxes if full else None
        rest = Visits(phase.stream, plan, guard, _tested(test), Share.REST if full else Share.ALL)
        self._box_loop(work, boxes, test, rest, hole=hole)

    def _last_needed(self, tiles: TileRange) -> Node:
        """The end of a range, 0 where it is empty: an empty one lies beyond all tiles."""
        some = self.expressions.operate("lt", tiles.first, tiles.end)
        return self.expressions.where(some, tiles.end, self.builder.const(0))

    def _box_loop(
        self, work: Work, boxes: list[TileRange], test: Expr, visits: Visits, *, hole: list[TileRange] | None
    ) -> None:
        counts = [self.expressions.operate("sub", b.end, b.first) for b in boxes]

        def place(counter: Node) -> tuple[list[Node], list[Node]]:
            steps = self.coordinates.unravelled(counter, counts)
            at = [self.expressions.operate("add", b.first, s) for b, s in zip(boxes, steps, strict=True)]
            if hole is None:
                return at, []
            outside: Node | None = None
            for tile, box in zip(at, hole, strict=True):
                beyond = self.expressions.operate(
                    "or", self.expressions.operate("lt", tile, box.full_first),
                    self.expressions.operate("ge", tile, box.full_end),
                )  # fmt: skip
                outside = beyond if outside is None else self.expressions.operate("or", outside, beyond)
            return at, [] if outside is None else [outside]

        self._emit_loop(work, self.coordinates.product(counts), place, test, visits)

    def _loop(self, work: Work, pieces: list[tuple[Node, Node]], test: Expr, visits: Visits) -> None:
        lengths = [self.expressions.operate("sub", end, first) for first, end in pieces]
        for number, length in enumerate(lengths):
            named(length, f"tiles_of_{number + 1}")
        total = lengths[0]
        for length in lengths[1:]:
            total = self.expressions.operate("add", total, length)

        def place(counter: Node) -> tuple[list[Node], list[Node]]:
            tile = self.expressions.operate("add", pieces[0][0], counter)
            before = lengths[0]
            for (first, _), length in zip(pieces[1:], lengths[1:], strict=True):
                beyond = self.expressions.operate("ge", counter, before)
                moved = self.expressions.operate(
                    "add", first, self.expressions.operate("sub", counter, before)
                )
                tile = self.expressions.where(beyond, moved, tile)
                before = named(self.expressions.operate("add", before, length), "tiles_before")
            return [tile], []

        self._emit_loop(work, named(total, "tiles_visited"), place, test, visits)

    def _emit_loop(
        self, work: Work, total: Node, place: Callable[[Node], tuple[list[Node], list[Node]]], test: Expr,
        visits: Visits,
    ) -> None:  # fmt: skip
        """A loop over tiles; ``place`` gives, from its counter, the tile of each stream index and what must
        hold for the tile to be visited."""
        order = self.kernel.next_order()
        prepare, body = Block(order), Block(order + 1)
        counter = self.builder.node(Counter(order), dtype="i32", block=prepare)
        starts, conditions = place(counter)
        scope = self.kernel.scope.inner(prepare, {}, work.phase.stream)
        scope.masked = work.masked
        self.coordinates.stream(scope, starts)
        if test != TRUE:
            conditions += self._possible(test, scope)
        scope.block = body
        scope.running = {t: self.kernel.state_node(s, body) for t, s in self.kernel.states.items()}
        loop = Loop(counter, total, prepare, self.expressions.all_of(conditions), body, visits)
        self.kernel.body.items.append(loop)
        self.builder.redirect(prepare, body)
        self.updates.update(work, scope, body)
        self.builder.redirect()
        self.kernel.segment()

    def _possible(self, guard: Expr, scope: Scope) -> list[Node]:
        """Whether any element of the tile can count, by interval arithmetic."""
        test = interval_test(guard, self.context.params, self.context.cascade)
        if test.possible == TRUE:
            return []
        for extremum in test.extrema:
            value = self.expressions.lower(extremum.read, scope)
            inside = [
                bound for slot in extremum.read.indices if isinstance(slot, IndexVar)
                for bound in self.expressions.lane_bounds(slot.name, scope)
            ]  # fmt: skip
            exists = self.expressions.all_of(inside)
            lanes_of_all = self.expressions.cast(value, "i64" if value.dtype == "i64" else "i32")
            least, greatest = RANGES[lanes_of_all.dtype]
            for side, operator, never in (("lo", "min", greatest), ("hi", "max", least)):
                lanes = lanes_of_all
                if exists is not None:
                    lanes = self.expressions.where(exists, lanes, self.builder.const(never, lanes.dtype))
                scope.endpoints[f"{side}:{extremum.name}"] = self.contraction.tiles.reduce_tile(
                    operator, lanes, lanes.axes
                )
        return [self.expressions.lower(test.possible, scope)]


def _tested(test: Expr) -> Expr | None:
    return None if test == TRUE else test
