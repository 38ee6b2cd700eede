"""States updated by the elements of a tile: each streamed reduction gets the tile's share, and where it folds
on another of the same pass, it is corrected by the ratio (or difference) that the pass analysis derived."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

from attn_dsl.analysis.folding import NEW, OLD
from attn_dsl.analysis.passes import Fold, PassAnalysis
from attn_dsl.codegen.lowering.context import Scope
from attn_dsl.codegen.lowering.stream.assembly import Assembly, Builder, Work
from attn_dsl.codegen.lowering.stream.presence import Presence
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.tiles import Apply, Argument, Assign, Block, Const, Dot, Load, Node, Store, named
from attn_dsl.ir.cascade import Einsum, Reduction


class Updates(Builder):
    """Adds contributions to states."""

    def __init__(self, kernel: Assembly, presence: Presence) -> None:
        super().__init__(kernel)
        self.presence = presence

    def update(self, work: Work, scope: Scope, body: Block) -> None:
        """The share of a tile, or of a contribution that has no stream; ``body``: where states get their next
        values."""
        old = dict(scope.running)
        changed: dict[str, Node] = {}
        sent: list[Store] = []
        in_loop = work if work.phase.stream else None
        for target in work.targets:
            parts = [p for p in work.phase.parts if p.target == target]
            if self.kernel.is_sent(target):
                sent += [
                    self.kernel.sender.store(p, self.kernel.conditions(p, scope, in_loop), scope)
                    for p in parts
                ]
                continue
            fold = work.passes.folds.get(target)
            base = old[target]
            if fold is not None and any(on in changed for on in fold.on):
                now = {t: scope.running[t] for t in fold.on}
                base = self._corrected(base, fold, old, now, scope)
            for part in parts:
                base = self._contribute(part, base, scope, work)
            if base is old[target]:
                continue
            changed[target] = base
            scope.running[target] = self._usable(base, target)
        flags = self.presence.updates(work, scope)
        # Later results read the old value of earlier ones, so those are assigned last.
        for target, node in reversed(changed.items()):
            if not isinstance(node.operation, Const | Argument | Load) and node.name is None:
                node.name = f"{target}_next"
            body.items.append(Assign(self.kernel.states[target], node))
        body.items += [*flags, *sent]

    def _contribute(self, part: Einsum, base: Node, scope: Scope, work: Work) -> Node:
        assert part.reduce is not None
        conditions = self.kernel.conditions(part, scope, work if work.phase.stream else None)
        inner = tuple(i for i in part.over if i in self.context.tiles.whole)
        axes = self.builder.ordered((*self.kernel.axes(work.phase), *inner))
        lanes = self.kernel.lanes(work.phase)
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
        if not self.kernel.reduces[target].rule.direction or not is_float(node.dtype):
            return node
        zero = self.builder.const(0.0, node.dtype)
        usable = self.expressions.where(self._at_identity(target, node), zero, node)
        return named(usable, f"{target}_or_0")

    def _corrected(
        self, base: Node, fold: Fold, old: dict[str, Node], new: dict[str, Node], scope: Scope
    ) -> Node:
        correction = self._correction(fold, old, new, scope)
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
        named(node, f"ratio_{'_'.join(fold.on)}" if fold.kind == "ratio" else f"shift_{'_'.join(fold.on)}")
        # Nothing that counts so far: nothing to correct, and exp(0 * (-inf - m)) would be nan. So would
        # exp(inf - inf) be, once a maximum is infinite: what does not change corrects nothing.
        neutral = self.builder.const(1.0 if fold.kind == "ratio" else 0.0, self.context.real)
        corrected = self.expressions.where(self._still(fold, old, new), neutral, node)
        return named(corrected, f"scale_{'_'.join(fold.on)}" if fold.kind == "ratio" else "corrected")

    def _still(self, fold: Fold, old: dict[str, Node], new: dict[str, Node]) -> Node:
        """Whether there is nothing to correct."""
        same = [self.expressions.operate("eq", old[on], new[on]) for on in fold.on]
        still = reduce(lambda a, b: self.expressions.operate("and", a, b), same)
        for on in fold.resting:
            still = self.expressions.operate("or", self._at_identity(on, old[on]), still)
        return still

    def _at_identity(self, result: str, node: Node) -> Node:
        identity = self.contraction.tiles.identity(self.kernel.reduces[result], node.dtype)
        return self.expressions.operate("eq", node, identity)

    def settle(self, targets: tuple[str, ...], passes: PassAnalysis) -> None:
        """After a pass: where a maximum really is -inf, what took 0 for it is corrected once more, from 0 to
        -inf: of a softmax that makes nan, as IEEE says."""
        self.kernel.segment()
        scope = self.kernel.scope
        for target in targets:
            fold = passes.folds.get(target)
            if fold is None or not fold.endless:
                continue
            ends = {on: scope.running[on] for on in fold.on}
            stood = {on: self._usable(node, on) if on in fold.endless else node for on, node in ends.items()}
            once_more = replace(fold, resting=())
            node = self._corrected(scope.running[target], once_more, stood, ends, scope)
            scope.block.items.append(Assign(self.kernel.states[target], node))
        self.kernel.segment()


def _operands(node: Node) -> tuple[Node, ...]:
    """What a sum was added to: the direct operands of an addition or of a dot."""
    return node.operands if node.operation == Apply("add") or isinstance(node.operation, Dot) else ()
