"""One kernel: rows in the grid, loops over streams, states carried round them, results stored at the end.

For each pass, in order: contributions that have no stream of their own, then a loop per stream. In a loop,
each streamed reduction gets this tile's share; where it folds on another of the same pass, it is corrected
by the ratio (or difference) that the pass analysis derived. Tiles in which every element counts run first,
in a loop without masks; the rest follow, masked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attn_dsl.analysis.folding import NEW, OLD
from attn_dsl.analysis.interval import interval_test
from attn_dsl.analysis.iteration import IterationPlan, Term, plan_iteration
from attn_dsl.analysis.passes import Fold, PassAnalysis, analyse_passes
from attn_dsl.analysis.presence import FALSE, PRESENT, conjuncts, disjunction
from attn_dsl.codegen.context import TRUE, KernelContext, Scope, accumulator_dtype
from attn_dsl.codegen.contraction import IDENTITY, ContractionLowering
from attn_dsl.codegen.lowering import ExpressionLowering
from attn_dsl.codegen.partition import contribution_streams
from attn_dsl.codegen.program import PARTS, Pointer
from attn_dsl.codegen.ranges import RangeLowering, TileRange
from attn_dsl.codegen.sending import SendLowering
from attn_dsl.codegen.tiles import Assign, Block, KernelBody, Loop, Node, State, Store, Visits, named
from attn_dsl.ir.cascade import Einsum, Reduction
from attn_dsl.ir.expr import Expr, IndexVar, Read
from attn_dsl.ir.walk import index_names, walk


@dataclass(frozen=True, slots=True)
class _Phase:
    """The contributions that run together: those without a stream, or those of one loop."""

    stream: tuple[str, ...]
    parts: tuple[Einsum, ...]


class StreamKernel:
    """Builds the tile program of one kernel plan."""

    def __init__(self, context: KernelContext) -> None:
        self.context = context
        self.builder = context.builder
        self.expressions = ExpressionLowering(context)
        self.contraction = ContractionLowering(context, self.expressions)
        self.ranges = RangeLowering(context, self.expressions)
        self.sender = SendLowering(context, self.expressions, self.contraction)
        self.body = KernelBody([self.builder.root])
        self.states: dict[str, State] = {}
        self.flags: dict[str, State] = {}
        self.known_presence: dict[str, Node] = {}
        self.reduces: dict[str, Reduction] = {}
        self.scope = Scope(self.builder.root, {})
        self.order = 0

    def build(self) -> KernelBody:
        """The whole kernel."""
        self._coordinates()
        passes = self._passes()
        self._declare_states()
        wanted = self._wanted_presence()
        for level in range(passes.count if self.context.plan.targets else 0):
            targets = [t for t in passes.order if passes.level[t] == level]
            for phase in self._phases(targets):
                self._run(phase, targets, passes, wanted)
            self._settle(targets, passes)
        self._pair_stores()
        self._segment()
        for name in self.context.plan.stores:
            if name not in self.context.plan.pair_stores:
                self._store(name, self.scope)
        for name in self._flagged():
            self._store_presence(name, self.scope)
        return self.body

    # coordinates

    def _coordinates(self) -> None:
        plan, tiles = self.context.plan, self.context.tiles
        rest = self.builder.node("program", dtype="i32")
        lanes = self.builder.node(
            "arange", dtype="i32", axes=(self.context.row_axis,), attributes=tuple(n for n, _ in tiles.rows)
        )
        below = 1
        for position, (index, tile) in enumerate(reversed(tiles.rows)):
            count = self._tiles_of(index, tile)
            outermost = position == len(tiles.rows) - 1 and not plan.programs
            at = rest if outermost else self.expressions.divide("mod", rest, count)
            rest = rest if outermost else self.expressions.divide("floordiv", rest, count)
            lane = (
                lanes if below == 1 else self.expressions.divide("floordiv", lanes, self.builder.const(below))
            )
            if position < len(tiles.rows) - 1:
                lane = self.expressions.divide("mod", lane, self.builder.const(tile))
            start = self.expressions.operate(
                "mul", at, self.builder.node("block", dtype="i32", attributes=(index,))
            )
            start.name = start.name or f"start_{index}"
            self._endpoints(self.scope, index, start, tile)
            self._coordinate(index, self.expressions.operate("add", start, lane))
            below *= tile
        self.scope.coordinates[PARTS] = self.builder.node("part", dtype="i32")
        for position, index in enumerate(reversed(plan.programs)):
            outermost = position == len(plan.programs) - 1
            value = rest if outermost else self.expressions.divide("mod", rest, self.expressions.size(index))
            rest = (
                rest if outermost else self.expressions.divide("floordiv", rest, self.expressions.size(index))
            )
            self._coordinate(index, value)
            self.scope.endpoints |= {f"lo:{index}": value, f"hi:{index}": value}
        for index in tiles.whole:
            lane = self.builder.node("arange", dtype="i32", axes=(index,), attributes=(index,))
            self._coordinate(index, lane)
            last = self.expressions.operate("sub", self.expressions.size(index), self.builder.const(1))
            self.scope.endpoints |= {f"lo:{index}": self.builder.const(0), f"hi:{index}": last}

    def _coordinate(self, index: str, node: Node) -> None:
        node.name = index
        self.scope.coordinates[index] = node

    def _tiles_of(self, index: str, tile: int) -> Node:
        padded = self.expressions.operate("add", self.expressions.size(index), self.builder.const(tile - 1))
        return self.expressions.divide("floordiv", padded, self.builder.const(tile))

    def _endpoints(self, scope: Scope, index: str, start: Node, tile: int) -> None:
        last = self.expressions.operate("sub", self.expressions.size(index), self.builder.const(1))
        end = self.expressions.operate("add", start, self.builder.const(tile - 1))
        scope.endpoints |= {f"lo:{index}": start, f"hi:{index}": self.expressions.operate("min", end, last)}

    # passes and states

    def _passes(self) -> PassAnalysis:
        over = {t: self.context.flow.over(t) & self.context.roles.streams for t in self.context.plan.targets}
        return analyse_passes(self.context.cascade, over)

    def _declare_states(self) -> None:
        for target in self.context.plan.targets:
            if self._is_sent(target):
                continue
            part = self.context.definition(target)[0]
            assert part.reduce is not None
            kept = tuple(d for d in part.dims if d in self.context.tiles.whole)
            axes = self.builder.ordered((self.context.row_axis, *kept))
            dtype = self._state_dtype(target, part.reduce)
            comment = "\n".join(self.context.comment(p) for p in self._statements(target))
            state = State(target, axes, dtype, IDENTITY[part.reduce], comment)
            self.states[target] = state
            self.reduces[target] = part.reduce
            self.body.states.append(state)

    def _statements(self, target: str) -> list[Einsum]:
        return [s for s in self.context.flow.by_target[target] if isinstance(s, Einsum)]

    def _state_dtype(self, target: str, reduce: Reduction) -> str:
        if reduce in (Reduction.ANY, Reduction.ALL):
            return "bool"
        return accumulator_dtype(self.context.real, self.context.kinds[target])

    def _wanted_presence(self) -> set[str]:
        """The streamed tensors whose presence something asks for."""
        exprs: list[Expr] = []
        for target in self.context.plan.targets:
            exprs += [e for p in self.context.definition(target) for e in (p.body, self._guard(p))]
        for name in dict.fromkeys((*self.context.plan.stores, *self._flagged())):
            dims = tuple(IndexVar(d) for d in self.context.flow.dims(name))
            exprs += [self.context.flow.guards.presence(Read(name, dims)), Read(name, dims)]
        seen: set[str] = set()
        wanted: set[str] = set()
        while exprs:
            for node in walk(exprs.pop()):
                if not isinstance(node, Read) or node.tensor in seen:
                    continue
                seen.add(node.tensor)
                if node.tensor.startswith(PRESENT):
                    wanted.add(node.tensor.removeprefix(PRESENT))
                elif (
                    node.tensor in self.context.flow.by_target
                    and node.tensor not in self.context.plan.available
                ):
                    parts = self.context.definition(node.tensor)
                    exprs += [e for p in parts for e in (p.body, p.where or TRUE)]
        return wanted & set(self.context.plan.targets)

    def _guard(self, part: Einsum) -> Expr:
        """The whole guard of a contribution."""
        if self.contraction.is_empty(part):
            return FALSE
        return TRUE if part.where is None else part.where

    def _phases(self, targets: list[str]) -> list[_Phase]:
        """Contributions without a stream first, then one loop a stream, in order of appearance."""
        groups: dict[tuple[str, ...], list[Einsum]] = {(): []}
        for target in targets:
            for part in self.context.definition(target):
                stream = tuple(sorted(set(part.over) & self.context.roles.streams, key=self._stream_order))
                groups.setdefault(stream, []).append(part)
        return [_Phase(stream, tuple(parts)) for stream, parts in groups.items() if parts]

    def _stream_order(self, index: str) -> int:
        names = [d for i in self.context.cascade.inputs for d in i.dims]
        return names.index(index) if index in names else len(names)

    # running a phase

    def _segment(self) -> None:
        """A new straight-line block; states read in it have their values at this point."""
        self.order += 4
        block = Block(self.order)
        self.body.items.append(block)
        running = {t: self._state_node(s, block) for t, s in self.states.items()}
        present = dict(self.known_presence)
        for target, state in self.flags.items():
            node = self._state_node(state, block)
            before = present.get(target)
            present[target] = node if before is None else self.expressions.operate("or", before, node)
        self.scope = Scope(block, self.scope.coordinates, running, present, self.scope.endpoints)

    def _state_node(self, state: State, block: Block) -> Node:
        return self.builder.node(
            "state", axes=state.axes, dtype=state.dtype, attributes=(state.name,), block=block
        )

    def _run(self, phase: _Phase, targets: list[str], passes: PassAnalysis, wanted: set[str]) -> None:
        self._segment()
        if not phase.stream:
            self._update(phase, targets, passes, self.scope)
            self._straight_presence(phase, wanted)
            return
        guards = {id(p): self._guard(p) for p in phase.parts}
        plan = self._plan(disjunction(*guards.values()), phase.stream)
        full = len(set(guards.values())) == 1 and len(plan.terms) == 1 and plan.closed_form
        flagged = self._loop_presence(phase, guards, wanted)
        self._loops(phase, targets, passes, plan, guards, flagged, full=full)

    def _plan(self, guard: Expr, stream: tuple[str, ...]) -> IterationPlan:
        return plan_iteration(guard, stream, self.context.params, self.context.cascade)

    def _loops(
        self, phase: _Phase, targets: list[str], passes: PassAnalysis, plan: IterationPlan,
        guards: dict[int, Expr], flagged: dict[str, Expr], *, full: bool,
    ) -> None:  # fmt: skip
        guard = disjunction(*guards.values())
        if not plan.terms:
            return
        if len(phase.stream) == 1:
            tile = self.context.tiles.streams[phase.stream[0]]
            mixed = any(self._closed(t) for t in plan.terms) and len(set(guards.values())) == 1
            found = [
                self.ranges.tile_range(t, phase.stream[0], tile, self.scope, full=mixed and self._closed(t))
                for t in plan.terms
            ]
            found = self.ranges.disjoint(found)
            pieces = [(r.full_first, r.full_end) for r in found]
            partial = [p for r in found for p in ((r.first, r.full_first), (r.full_end, r.end))]
            if mixed:
                inside = Visits(phase.stream, plan, guard, None, "full")
                self._loop(phase, targets, passes, pieces, None, guards, {}, inside, masked=False)
            partial = partial if mixed else [(r.first, r.end) for r in found]
            test = TRUE if plan.closed_form else guard
            rest = Visits(phase.stream, plan, guard, _tested(test), "rest" if mixed else "all")
            self._loop(phase, targets, passes, partial, test, guards, flagged, rest, masked=True)
            return
        self._box_loops(phase, targets, passes, plan, guards, flagged, full=full)

    def _closed(self, term: Term) -> bool:
        return not term.residual

    def _box_loops(
        self, phase: _Phase, targets: list[str], passes: PassAnalysis, plan: IterationPlan,
        guards: dict[int, Expr], flagged: dict[str, Expr], *, full: bool,
    ) -> None:  # fmt: skip
        """Several stream indices: the box of tiles that holds every term, those inside without masks."""
        boxes: list[TileRange] = []
        for index in phase.stream:
            tile = self.context.tiles.streams[index]
            found = [self.ranges.tile_range(t, index, tile, self.scope, full=full) for t in plan.terms]
            first, end = found[0].first, self._last_needed(found[0])
            for other in found[1:]:
                first = self.expressions.operate("min", first, other.first)
                end = self.expressions.operate("max", end, self._last_needed(other))
            end = self.expressions.operate("max", end, first)
            boxes.append(TileRange(first, end, found[0].full_first, found[0].full_end))
        if full:
            inner = [TileRange(b.full_first, b.full_end, b.full_first, b.full_end) for b in boxes]
            inside = Visits(phase.stream, plan, disjunction(*guards.values()), None, "full")
            self._box_loop(phase, targets, passes, inner, None, guards, {}, inside, masked=False, hole=None)
        exact = plan.closed_form and len(plan.terms) == 1
        test = TRUE if exact else disjunction(*guards.values())
        hole = boxes if full else None
        rest = Visits(
            phase.stream, plan, disjunction(*guards.values()), _tested(test), "rest" if full else "all"
        )
        self._box_loop(phase, targets, passes, boxes, test, guards, flagged, rest, masked=True, hole=hole)

    def _last_needed(self, tiles: TileRange) -> Node:
        """The end of a range, 0 where it is empty: an empty one lies beyond all tiles."""
        some = self.expressions.operate("lt", tiles.first, tiles.end)
        return self.expressions.where(some, tiles.end, self.builder.const(0))

    def _box_loop(
        self, phase: _Phase, targets: list[str], passes: PassAnalysis, boxes: list[TileRange],
        test: Expr | None, guards: dict[int, Expr], flagged: dict[str, Expr], visits: Visits, *, masked: bool,
        hole: list[TileRange] | None,
    ) -> None:  # fmt: skip
        counts = [self.expressions.operate("sub", b.end, b.first) for b in boxes]
        total = counts[0]
        for count in counts[1:]:
            total = self.expressions.operate("mul", total, count)

        def place(counter: Node) -> tuple[list[Node], list[Node]]:
            rest, at = counter, list[Node]()
            for count, box in zip(reversed(counts), reversed(boxes), strict=True):
                step = self.expressions.divide("mod", rest, count)
                rest = self.expressions.divide("floordiv", rest, count)
                at.insert(0, self.expressions.operate("add", box.first, step))
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

        self._emit_loop(phase, targets, passes, total, place, test, guards, flagged, visits, masked=masked)

    def _loop(
        self, phase: _Phase, targets: list[str], passes: PassAnalysis, pieces: list[tuple[Node, Node]],
        test: Expr | None, guards: dict[int, Expr], flagged: dict[str, Expr], visits: Visits, *, masked: bool,
    ) -> None:  # fmt: skip
        lengths = [self.expressions.operate("sub", end, first) for first, end in pieces]
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
                before = self.expressions.operate("add", before, length)
            return [tile], []

        self._emit_loop(phase, targets, passes, total, place, test, guards, flagged, visits, masked=masked)

    def _emit_loop(
        self,
        phase: _Phase,
        targets: list[str],
        passes: PassAnalysis,
        total: Node,
        place: Callable[[Node], tuple[list[Node], list[Node]]],
        test: Expr | None,
        guards: dict[int, Expr],
        flagged: dict[str, Expr],
        visits: Visits,
        *,
        masked: bool,
    ) -> None:
        """A loop over tiles; ``place`` gives, from its counter, the tile of each stream index and what must
        hold for the tile to be visited."""
        self.order += 4
        prepare, body = Block(self.order), Block(self.order + 1)
        counter = self.builder.node("counter", dtype="i32", block=prepare, attributes=(self.order,))
        starts, conditions = place(counter)
        scope = self.scope.inner(prepare, {}, phase.stream)
        scope.masked = masked
        self._stream_coordinates(scope, starts)
        if test is not None and test != TRUE:
            conditions += self._possible(test, scope)
        scope.block = body
        scope.running = {t: self._state_node(s, body) for t, s in self.states.items()}
        kind = "every element counts" if not masked else "masked"
        loop = Loop(counter, total, prepare, self.expressions.all_of(conditions), body, kind, visits)
        self.body.items.append(loop)
        self.builder.redirect(prepare, body)
        self._update(phase, targets, passes, scope, guards if masked else {}, body, masked_flags=flagged)
        self.builder.redirect()
        self._segment()

    def _stream_coordinates(self, scope: Scope, starts: list[Node]) -> None:
        tiles = self.context.tiles.streams
        axis = "_".join(scope.stream)
        lanes = self.builder.node("arange", dtype="i32", axes=(axis,), attributes=scope.stream)
        below = 1
        for index, at in reversed(list(zip(scope.stream, starts, strict=True))):
            lane = (
                lanes if below == 1 else self.expressions.divide("floordiv", lanes, self.builder.const(below))
            )
            if index != scope.stream[0]:
                lane = self.expressions.divide("mod", lane, self.builder.const(tiles[index]))
            start = self.expressions.operate(
                "mul", at, self.builder.node("block", dtype="i32", attributes=(index,))
            )
            start.name = start.name or f"start_{index}"
            coordinate = self.expressions.operate("add", start, lane)
            coordinate.name = index
            scope.coordinates[index] = coordinate
            self._endpoints(scope, index, start, tiles[index])
            below *= tiles[index]

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
            for side, operator, never in (("lo", "min", 2**31 - 1), ("hi", "max", -(2**31) + 1)):
                lanes = self.expressions.cast(value, "i64" if value.dtype == "i64" else "i32")
                if exists is not None:
                    lanes = self.expressions.where(exists, lanes, self.builder.const(never, lanes.dtype))
                scope.endpoints[f"{side}:{extremum.name}"] = self.contraction.reduce_tile(
                    operator, lanes, lanes.axes
                )
        return [self.expressions.lower(test.possible, scope)]

    # updating states

    def _update(
        self, phase: _Phase, targets: list[str], passes: PassAnalysis, scope: Scope,
        guards: dict[int, Expr] | None = None, body: Block | None = None,
        masked_flags: dict[str, Expr] | None = None,
    ) -> None:  # fmt: skip
        axis = ("_".join(phase.stream),) if phase.stream else ()
        old = dict(scope.running)
        changed: dict[str, Node] = {}
        sent: list[Store] = []
        for target in targets:
            parts = [p for p in phase.parts if p.target == target]
            if self._is_sent(target):
                sent += [self.sender.store(p, self._conditions(p, scope, axis, guards), scope) for p in parts]
                continue
            fold = passes.folds.get(target)
            base = old[target]
            if fold is not None and any(on in changed for on in fold.on):
                base = self._corrected(base, fold, old, scope)
            for part in parts:
                base = self._contribute(part, base, scope, axis, guards)
            if base is old[target]:
                continue
            changed[target] = base
            scope.running[target] = self._usable(base, target)
        flags = self._flag_updates(masked_flags or {}, scope, axis)
        place = scope.block if body is None else body
        # Later results read the old value of earlier ones, so those are assigned last.
        for target, node in reversed(changed.items()):
            if node.operation not in ("const", "argument", "load", "coordinate") and node.name is None:
                node.name = f"{target}_next"
            place.items.append(Assign(self.states[target], node))
        place.items += [*flags, *sent]

    def _is_sent(self, target: str) -> bool:
        return self.context.cascade.sending(target) is not None

    def _conditions(
        self, part: Einsum, scope: Scope, axis: tuple[str, ...], guards: dict[int, Expr] | None
    ) -> list[Node]:
        """What must hold for an element of a contribution to count."""
        guard = self._guard(part) if guards is None or axis == () else guards.get(id(part), TRUE)
        conditions = [self.expressions.lower(c, scope) for c in conjuncts(guard)]
        if axis and guards:
            conditions += [b for s in scope.stream for b in self.expressions.lane_bounds(s, scope)]
        return conditions

    def _contribute(
        self, part: Einsum, base: Node, scope: Scope, axis: tuple[str, ...], guards: dict[int, Expr] | None
    ) -> Node:
        assert part.reduce is not None
        conditions = self._conditions(part, scope, axis, guards)
        inner = tuple(i for i in part.over if i in self.context.tiles.whole)
        axes = self.builder.ordered((*axis, *inner))
        lanes = 1
        for index in scope.stream if axis else ():
            lanes *= self.context.tiles.streams[index]
        accumulator = base if part.reduce is Reduction.SUM else None
        value = self.contraction.reduce(part.reduce, part.body, conditions, axes, scope, accumulator, lanes)
        return (
            value
            if self._accumulated(value, base, part)
            else self.contraction.combine(part.reduce, base, value)
        )

    def _accumulated(self, value: Node, base: Node, part: Einsum) -> bool:
        """Whether the sum has already been added to its accumulator."""
        return part.reduce is Reduction.SUM and any(base is n for n in _operands(value))

    def _usable(self, node: Node, target: str) -> Node:
        """A running maximum of nothing but -inf is replaced by 0 where other results use it: exp(-inf - -inf)
        would be nan, and the row may yet meet a finite element."""
        if self.reduces[target] not in (Reduction.MAX, Reduction.MIN) or node.dtype not in ("f32", "f64"):
            return node
        nothing = self.contraction.identity(self.reduces[target], node.dtype)
        empty = self.expressions.operate("eq", node, nothing)
        usable = self.expressions.where(empty, self.builder.const(0.0, node.dtype), node)
        return named(usable, f"{target}_or_0")

    def _corrected(self, base: Node, fold: Fold, old: dict[str, Node], scope: Scope) -> Node:
        correction = self._correction(fold, old, {t: scope.running[t] for t in fold.on}, scope)
        operator = "mul" if fold.kind == "ratio" else "add"
        return self.expressions.operate(operator, base, correction)

    def _correction(self, fold: Fold, old: dict[str, Node], new: dict[str, Node], scope: Scope) -> Node:
        inner = Scope(
            scope.block,
            scope.coordinates,
            dict(scope.running),
            scope.present,
            scope.endpoints,
            scope.masked,
            scope.stream,
        )
        inner.running |= {OLD + t: old[t] for t in fold.on} | {NEW + t: new[t] for t in fold.on}
        node = self.expressions.lower(fold.correction, inner)
        named(node, f"scale_{'_'.join(fold.on)}")
        # Nothing met so far: nothing to correct, and exp(0 * (-inf - m)) would be nan. So would exp(inf - inf) be,
        # once a maximum is infinite: what does not change corrects nothing.
        neutral = self.builder.const(1.0 if fold.kind == "ratio" else 0.0, self.context.real)
        for on in fold.on:
            identity = self.contraction.identity(self.reduces[on], old[on].dtype)
            none = self.expressions.operate("eq", old[on], identity)
            same = self.expressions.operate("eq", old[on], new[on])
            still = none if len(fold.on) > 1 else self.expressions.operate("or", none, same)
            node = self.expressions.where(still, neutral, node)
        return node

    def _settle(self, targets: list[str], passes: PassAnalysis) -> None:
        """After a pass: a maximum that really is -inf makes what was scaled by it nan, as IEEE says."""
        self._segment()
        scope = self.scope
        for target in targets:
            fold = passes.folds.get(target)
            if fold is None or fold.kind != "ratio":
                continue
            extremes = [t for t in fold.on if self.reduces[t] in (Reduction.MAX, Reduction.MIN)]
            node = scope.running[target]
            for on in extremes:
                nothing = self.contraction.identity(self.reduces[on], self.states[on].dtype)
                empty = self.expressions.operate("eq", scope.running[on], nothing)
                nan = self.builder.const(float("nan"), node.dtype)
                node = self.expressions.where(empty, nan, node)
            if extremes:
                scope.block.items.append(Assign(self.states[target], node))
        self._segment()

    # presence

    def _straight_presence(self, phase: _Phase, wanted: set[str]) -> None:
        for part in phase.parts:
            if part.target in wanted:
                guard = self._guard(part)
                some = (
                    self.builder.const(True) if guard == TRUE else self.expressions.lower(guard, self.scope)
                )
                self._join_presence(part.target, self._any_of_reduced(some, part, self.scope))

    def _join_presence(self, target: str, some: Node) -> None:
        before = self.known_presence.get(target)
        self.known_presence[target] = some if before is None else self.expressions.operate("or", before, some)

    def _loop_presence(self, phase: _Phase, guards: dict[int, Expr], wanted: set[str]) -> dict[str, Expr]:
        """Rows with an element, from the bounds where those say all; else counted in the loop."""
        flagged: dict[str, Expr] = {}
        for part in phase.parts:
            if part.target not in wanted:
                continue
            guard = guards[id(part)]
            plan = self._plan(guard, phase.stream)
            if plan.closed_form:
                some = self.ranges.non_empty(plan, phase.stream, self.scope)
                self._join_presence(part.target, self._any_of_reduced(some, part, self.scope))
                continue
            if part.target not in self.flags:
                names = {
                    n for p in phase.parts if p.target == part.target for n in index_names(guards[id(p)])
                }
                kept = tuple(d for d in part.dims if d in self.context.tiles.whole and d in names)
                axes = self.builder.ordered((self.context.row_axis, *kept))
                state = State(f"{part.target}_present", axes, "bool", "0")
                self.flags[part.target] = state
                self.body.states.append(state)
            flagged[part.target] = disjunction(flagged.get(part.target, FALSE), guard)
        return flagged

    def _any_of_reduced(self, node: Node, part: Einsum, scope: Scope) -> Node:
        """Presence along whole indices that the statement reduces, or that its target does not have."""
        for axis in [a for a in node.axes if a in self.context.tiles.whole and a not in part.dims]:
            inside = self.expressions.all_of([node, *self.expressions.lane_bounds(axis, scope)])
            assert inside is not None
            node = self.contraction.reduce_tile("or", inside, (axis,))
        return node

    def _flag_updates(self, flagged: dict[str, Expr], scope: Scope, axis: tuple[str, ...]) -> list[Assign]:
        updates: list[Assign] = []
        for target, guard in flagged.items():
            bounds = [b for s in scope.stream for b in self.expressions.lane_bounds(s, scope)]
            inside = self.expressions.all_of([self.expressions.lower(guard, scope), *bounds])
            assert inside is not None
            some = self.contraction.reduce_tile("or", inside, tuple(a for a in axis if a in inside.axes))
            some = self._any_of_reduced(some, self.context.definition(target)[0], scope)
            state = self.flags[target]
            before = self._state_node(state, scope.block)
            updates.append(Assign(state, self.expressions.operate("or", before, some)))
        return updates

    # stores

    def _pair_stores(self) -> None:
        for name in self.context.plan.pair_stores:
            stream = next(
                tuple(sorted(s, key=self._stream_order))
                for t in self.context.plan.targets
                for s in contribution_streams(self.context.flow, self.context.roles, t)
                if s <= set(self.context.flow.dims(name))
            )
            self._segment()
            plan = self._plan(TRUE, stream)
            boxes = [
                self.ranges.tile_range(
                    plan.terms[0], s, self.context.tiles.streams[s], self.scope, full=False
                )
                for s in stream
            ]
            self._pair_store(name, Visits(stream, plan, TRUE, None, "all"), boxes)

    def _pair_store(self, name: str, visits: Visits, boxes: list[TileRange]) -> None:
        counts = [self.expressions.operate("sub", b.end, b.first) for b in boxes]
        total = counts[0]
        for count in counts[1:]:
            total = self.expressions.operate("mul", total, count)
        self.order += 4
        prepare, body = Block(self.order), Block(self.order + 1)
        counter = self.builder.node("counter", dtype="i32", block=prepare, attributes=(self.order,))
        rest, at = counter, list[Node]()
        for count, box in zip(reversed(counts), reversed(boxes), strict=True):
            at.insert(
                0, self.expressions.operate("add", box.first, self.expressions.divide("mod", rest, count))
            )
            rest = self.expressions.divide("floordiv", rest, count)
        scope = self.scope.inner(prepare, {}, visits.stream)
        self._stream_coordinates(scope, at)
        scope.block = body
        self.body.items.append(Loop(counter, total, prepare, None, body, f"store {name}", visits))
        self._store(name, scope)

    def _store(self, name: str, scope: Scope) -> None:
        context = self.context
        if self._is_sent(name):
            for part in context.definition(name):
                conditions = self._conditions(part, scope, (), None)
                scope.block.items.append(self.sender.store(part, conditions, scope))
            return
        read = Read(name, tuple(IndexVar(d) for d in context.flow.dims(name)))
        value = self.expressions.lower(read, scope)
        exists = context.flow.guards.presence(read)
        if exists != TRUE:
            condition = self.expressions.lower(exists, scope)
            zero = self.builder.const(False) if value.dtype == "bool" else self.builder.const(0, value.dtype)
            stored = self.expressions.where(condition, value, zero)
        else:
            stored = value
        self._write(name, read, stored, scope)

    def _flagged(self) -> list[str]:
        """The tensors of this kernel of which it is stored where they exist."""
        context = self.context
        names = dict.fromkeys((*context.plan.stores, *context.plan.targets))
        flags = {n: PRESENT + n for n in names if n not in context.plan.pair_stores}
        return [
            n for n, flag in flags.items() if flag in context.storage and flag not in context.cascade.saved
        ]

    def _store_presence(self, name: str, scope: Scope) -> None:
        read = Read(name, tuple(IndexVar(d) for d in self.context.flow.dims(name)))
        exists = self.context.flow.guards.presence(read)
        node = self.builder.const(True) if exists == TRUE else self.expressions.lower(exists, scope)
        flag = Read(PRESENT + name, read.indices)
        along = {d for axis in self.context.storage[flag.tensor].axes for d in axis}
        rows = self.context.row_axis if along & {*self.context.plan.rows} else None
        node = self.contraction.reduce_tile(
            "or", node, tuple(a for a in node.axes if a not in {*along, rows})
        )
        self._write(flag.tensor, flag, self.expressions.cast(node, "i8"), scope)

    def _write(self, name: str, read: Read, value: Node, scope: Scope) -> None:
        storage = self.context.storage[name]
        offset, mask = self.expressions.address(read, scope)
        pointer = self.context.argument(f"{name.replace(':', '_')}_ptr", Pointer(name), storage.dtype)
        scope.block.items.append(Store(pointer, offset, self.expressions.cast(value, storage.dtype), mask))


def _tested(test: Expr) -> Expr | None:
    return None if test == TRUE else test


def _operands(node: Node) -> tuple[Node, ...]:
    """What a sum was added to: the direct operands of an addition or of a dot."""
    return node.operands if node.operation in ("add", "dot") else ()
