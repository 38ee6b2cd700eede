"""One kernel: rows in the grid, loops over streams, states carried round them, results stored at the end.

For each pass, in order: contributions that have no stream of their own, then a loop per stream.
"""

from __future__ import annotations

from attn_dsl.analysis.logic import disjunction
from attn_dsl.analysis.passes import PassAnalysis
from attn_dsl.codegen.lowering.context import KernelContext, accumulator_dtype
from attn_dsl.codegen.lowering.stream.assembly import Assembly, Builder, Phase, Work
from attn_dsl.codegen.lowering.stream.coordinates import Coordinates
from attn_dsl.codegen.lowering.stream.presence import Presence
from attn_dsl.codegen.lowering.stream.storing import Stores
from attn_dsl.codegen.lowering.stream.updating import Updates
from attn_dsl.codegen.lowering.stream.visiting import Visitor
from attn_dsl.codegen.naming import Value
from attn_dsl.codegen.tiles import KernelBody, State
from attn_dsl.ir.cascade import Einsum, Reduction


class StreamKernel(Builder):
    """Builds the tile program of one kernel plan."""

    def __init__(self, context: KernelContext) -> None:
        super().__init__(Assembly(context))
        self.coordinates = Coordinates(self.kernel)
        self.presence = Presence(self.kernel)
        self.updates = Updates(self.kernel, self.presence)
        self.visitor = Visitor(self.kernel, self.coordinates, self.updates)
        self.stores = Stores(self.kernel, self.coordinates)

    def build(self) -> KernelBody:
        """The whole kernel."""
        self.coordinates.rows()
        passes = self.context.program.passes(self.context.plan)
        self.kernel.corrected = frozenset(passes.folds)
        self._declare_states()
        wanted = self.presence.wanted()
        for level in range(passes.count if self.context.plan.targets else 0):
            targets = [t for t in passes.order if passes.level[t] == level]
            for phase in self._phases(targets):
                self._run(phase, targets, passes, wanted)
            self.updates.settle(tuple(targets), passes)
        self.stores.pairs()
        self.kernel.segment()
        for name in self.context.plan.stores:
            if name not in self.context.plan.pair_stores:
                self.stores.store(name, self.kernel.scope)
        for name in self.presence.flagged():
            self.stores.presence(name, self.kernel.scope)
        return self.kernel.body

    def _declare_states(self) -> None:
        for target in self.context.plan.targets:
            if self.kernel.is_sent(target):
                continue
            part = self.context.definition(target)[0]
            assert part.reduce is not None
            kept = tuple(d for d in part.dims if d in self.context.tiles.whole)
            axes = self.builder.ordered((self.context.row_axis, *kept))
            dtype = self._state_dtype(target, part.reduce)
            comment = "\n".join(self.context.comment(p) for p in self.kernel.statements(target))
            state = State(
                self.context.namer.claim(Value(target), target),
                axes,
                dtype,
                part.reduce.rule.identity,
                comment,
            )
            self.kernel.states[target] = state
            self.kernel.reduces[target] = part.reduce
            self.kernel.body.states.append(state)

    def _state_dtype(self, target: str, reduce: Reduction) -> str:
        if reduce.rule.of_truths:
            return "bool"
        return accumulator_dtype(self.context.real, self.context.held[target])

    def _phases(self, targets: list[str]) -> list[Phase]:
        """Contributions without a stream first, then one loop a stream, in order of appearance."""
        groups: dict[tuple[str, ...], list[Einsum]] = {(): []}
        for target in targets:
            for part in self.context.definition(target):
                stream = self.context.flow.in_order({*part.over} & self.context.roles.streams)
                groups.setdefault(stream, []).append(part)
        return [Phase(stream, tuple(parts)) for stream, parts in groups.items() if parts]

    def _run(self, phase: Phase, targets: list[str], passes: PassAnalysis, wanted: set[str]) -> None:
        self.kernel.segment()
        guards = {id(p): self.kernel.guard(p) for p in phase.parts}
        if not phase.stream:
            once = Work(phase, tuple(targets), passes, guards, {})
            self.updates.update(once, self.kernel.scope, self.kernel.scope.block)
            self.presence.straight(phase, wanted)
            return
        plan = self.kernel.iteration(disjunction(*guards.values()), phase.stream)
        flagged = self.presence.in_loop(phase, guards, wanted)
        self.visitor.loops(Work(phase, tuple(targets), passes, guards, flagged), plan)
