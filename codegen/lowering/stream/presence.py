"""Which rows have an element: from the bounds of their range where those say all, else counted in the
loop."""

from __future__ import annotations

from attn_dsl.analysis.logic import FALSE, PRESENT, disjunction
from attn_dsl.codegen.lowering.context import TRUE, Scope
from attn_dsl.codegen.lowering.stream.assembly import Builder, Phase, Work
from attn_dsl.codegen.naming import Flag
from attn_dsl.codegen.tiles import Assign, Node, State
from attn_dsl.ir.cascade import Einsum
from attn_dsl.ir.expr import Expr, IndexVar, Read
from attn_dsl.ir.walk import index_names, walk


class Presence(Builder):
    """Presence of what a kernel reduces."""

    def wanted(self) -> set[str]:
        """The streamed tensors whose presence something asks for."""
        exprs: list[Expr] = []
        for target in self.context.plan.targets:
            exprs += [e for p in self.context.definition(target) for e in (p.body, self.kernel.guard(p))]
        exprs += [self.kernel.presence_stored(name) for name in self.context.plan.stores]
        exprs += [self._read(name) for name in (*self.context.plan.stores, *self.flagged())]
        exprs += [self.context.flow.guards.presence(self._read(name)) for name in self.flagged()]
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
                    exprs += [
                        e for p in parts for e in (p.body, TRUE if p.reduce is None else p.where or TRUE)
                    ]
        return wanted & set(self.context.plan.targets)

    def _read(self, name: str) -> Read:
        return Read(name, tuple(IndexVar(d) for d in self.context.flow.dims(name)))

    def straight(self, phase: Phase, wanted: set[str]) -> None:
        """Of contributions without a stream."""
        for part in phase.parts:
            if part.target in wanted:
                guard = self.kernel.guard(part)
                some = (
                    self.builder.const(True)
                    if guard == TRUE
                    else self.expressions.lower(guard, self.kernel.scope)
                )
                self._join_presence(part.target, self._any_of_reduced(some, part, self.kernel.scope))

    def in_loop(self, phase: Phase, guards: dict[int, Expr], wanted: set[str]) -> dict[str, Expr]:
        """Rows with an element, from the bounds where those say all; else counted in the loop."""
        flagged: dict[str, Expr] = {}
        for part in phase.parts:
            if part.target not in wanted:
                continue
            guard = guards[id(part)]
            plan = self.kernel.iteration(guard, phase.stream)
            if plan.closed_form:
                some = self.kernel.ranges.non_empty(plan, phase.stream, self.kernel.scope)
                self._join_presence(part.target, self._any_of_reduced(some, part, self.kernel.scope))
                continue
            if part.target not in self.kernel.flags:
                parts = self.context.definition(part.target)  # of all loops: the flag is carried round each
                names = {n for p in parts for n in index_names(self.kernel.guard(p))}
                kept = tuple(d for d in part.dims if d in self.context.tiles.whole and d in names)
                axes = self.builder.ordered((self.context.row_axis, *kept))
                state = State(
                    self.context.namer.claim(Flag(part.target), f"{part.target}_present"), axes, "bool", "0"
                )
                self.kernel.flags[part.target] = state
                self.kernel.body.states.append(state)
            flagged[part.target] = disjunction(flagged.get(part.target, FALSE), guard)
        return flagged

    def updates(self, work: Work, scope: Scope) -> list[Assign]:
        """What a tile adds to the flags."""
        updates: list[Assign] = []
        for target, guard in work.flagged.items():
            bounds = [b for s in scope.stream for b in self.expressions.lane_bounds(s, scope)]
            inside = self.expressions.all_of([self.expressions.lower(guard, scope), *bounds])
            assert inside is not None
            some = self.contraction.tiles.reduce_tile(
                "or", inside, tuple(a for a in self.kernel.axes(work.phase) if a in inside.axes)
            )
            some = self._any_of_reduced(some, self.context.definition(target)[0], scope)
            state = self.kernel.flags[target]
            before = self.kernel.state_node(state, scope.block)
            updates.append(Assign(state, self.expressions.operate("or", before, some)))
        return updates

    def _any_of_reduced(self, node: Node, part: Einsum, scope: Scope) -> Node:
        """Presence along whole indices that the statement reduces, or that its target does not have."""
        for axis in [a for a in node.axes if a in self.context.tiles.whole and a not in part.dims]:
            inside = self.expressions.all_of([node, *self.expressions.lane_bounds(axis, scope)])
            assert inside is not None
            node = self.contraction.tiles.reduce_tile("or", inside, (axis,))
        return node

    def _join_presence(self, target: str, some: Node) -> None:
        before = self.kernel.known_presence.get(target)
        self.kernel.known_presence[target] = (
            some if before is None else self.expressions.operate("or", before, some)
        )

    def flagged(self) -> list[str]:
        """The tensors of this kernel of which it is stored where they exist."""
        context = self.context
        names = dict.fromkeys((*context.plan.stores, *context.plan.targets))
        flags = {n: PRESENT + n for n in names if n not in context.plan.pair_stores}
        return [
            n for n, flag in flags.items() if flag in context.storage and flag not in context.cascade.saved
        ]
