"""A kernel under construction: what its loops, updates and stores share."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from attn_dsl.analysis.emptiness import is_zero_where_absent
from attn_dsl.analysis.iteration import IterationPlan, plan_iteration
from attn_dsl.analysis.logic import FALSE, conjuncts
from attn_dsl.analysis.passes import PassAnalysis
from attn_dsl.codegen.lowering.context import TRUE, KernelContext, Scope
from attn_dsl.codegen.lowering.contraction import ContractionLowering
from attn_dsl.codegen.lowering.expressions import ExpressionLowering
from attn_dsl.codegen.lowering.ranges import RangeLowering
from attn_dsl.codegen.lowering.sending import SendLowering
from attn_dsl.codegen.naming import joint_axis
from attn_dsl.codegen.tiles import Block, Current, KernelBody, Node, State
from attn_dsl.ir.cascade import Einsum, Reduction
from attn_dsl.ir.expr import Expr, IndexVar, Read


@dataclass(frozen=True, slots=True)
class Phase:
    """The contributions that run together: those without a stream, or those of one loop."""

    stream: tuple[str, ...]
    parts: tuple[Einsum, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """What is done for each tile of a phase, or once. ``guards``: what must hold for an element of a
    contribution (by its id); none of a contribution that is not in it. ``flagged``: guards whose presence is
    counted tile by tile."""

    phase: Phase
    targets: tuple[str, ...]
    passes: PassAnalysis
    guards: dict[int, Expr]
    flagged: dict[str, Expr]
    masked: bool = True

    def unmasked(self) -> Work:
        """The same over tiles in which every element counts, and so is present."""
        return Work(
            self.phase, self.targets, self.passes, {}, dict.fromkeys(self.flagged, TRUE), masked=False
        )


class Assembly:
    """The body of a kernel as far as it is built, and where the next statement goes.

    ``states``: what is carried round the loops. ``flags``: states of presence. ``known_presence``: presence
    that needs no counting. ``reduces``: the reduction behind a state. ``scope``: the straight-line block that
    is open.
    """

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
        self.corrected: frozenset[str] = frozenset()
        self.scope = Scope(self.builder.root, {})
        self._order = 0

    # blocks

    def next_order(self) -> int:
        """The number of a new block; the one after it is free too."""
        self._order += 4
        return self._order

    def segment(self) -> None:
        """A new straight-line block; states read in it have their values at this point."""
        block = Block(self.next_order())
        self.body.items.append(block)
        running = {t: self.state_node(s, block) for t, s in self.states.items()}
        present = dict(self.known_presence)
        for target, state in self.flags.items():
            node = self.state_node(state, block)
            before = present.get(target)
            present[target] = node if before is None else self.expressions.operate("or", before, node)
        self.scope = Scope(block, self.scope.coordinates, running, present, self.scope.endpoints)

    def state_node(self, state: State, block: Block) -> Node:
        """The value of a state at the start of a block."""
        return self.builder.node(Current(state.name), axes=state.axes, dtype=state.dtype, block=block)

    def lanes(self, phase: Phase) -> int:
        """How many elements of its streams a tile holds; 1 without a stream."""
        return prod(self.context.tiles.streams[index] for index in phase.stream)

    def axes(self, phase: Phase) -> tuple[str, ...]:
        """The axis along which a tile holds elements of its streams; none where it holds one."""
        return (joint_axis(phase.stream),) if self.lanes(phase) > 1 else ()

    # contributions

    def guard(self, part: Einsum) -> Expr:
        """The whole guard of a contribution."""
        if self.contraction.is_empty(part):
            return FALSE
        return TRUE if part.where is None else part.where

    def iteration(self, guard: Expr, stream: tuple[str, ...]) -> IterationPlan:
        """Which tiles of a stream are visited."""
        return plan_iteration(guard, stream, self.context.params, self.context.cascade)

    def conditions(self, part: Einsum, scope: Scope, work: Work | None = None) -> list[Node]:
        """What must hold for an element of a contribution to count; ``work``: in a loop."""
        guard = self.guard(part) if work is None else work.guards.get(id(part), TRUE)
        conditions = [self.expressions.lower(c, scope) for c in conjuncts(guard)]
        if work is not None and work.masked:
            conditions += [b for s in scope.stream for b in self.expressions.lane_bounds(s, scope)]
        return conditions

    def presence_stored(self, name: str) -> Expr:
        """Where a result exists, as far as its value does not show that: of a sum of nothing, 0 is stored
        anyway."""
        read = Read(name, tuple(IndexVar(d) for d in self.context.flow.dims(name)))
        if is_zero_where_absent(read, self.context.cascade, self._zeros()):
            return TRUE
        return self.context.flow.guards.presence(read)

    def _zeros(self) -> set[str]:
        """The tensors of which this kernel has a 0 where they do not exist: plain sums that no correction
        multiplies by what is infinite where they are empty, and whatever is stored."""
        flow, plan = self.context.flow, self.context.plan
        sums = {
            t
            for t in plan.targets
            if t not in self.corrected
            and all(isinstance(p, Einsum) and p.reduce is Reduction.SUM and p.over for p in flow.by_target[t])
        }
        return sums | plan.available

    def is_sent(self, target: str) -> bool:
        """Whether a reduction adds to computed places."""
        return self.context.cascade.sending(target) is not None

    def statements(self, target: str) -> list[Einsum]:
        """The contributions to a target as they were written."""
        return [s for s in self.context.flow.by_target[target] if isinstance(s, Einsum)]


class Builder:
    """A part of the building of a kernel."""

    def __init__(self, kernel: Assembly) -> None:
        self.kernel = kernel
        self.context = kernel.context
        self.builder = kernel.builder
        self.expressions = kernel.expressions
        self.contraction = kernel.contraction
