"""Reductions of a tile along its axes, and what they start from."""

from __future__ import annotations

from collections.abc import Sequence

from attn_dsl.codegen.lowering.context import KernelContext, Scope
from attn_dsl.codegen.lowering.expressions import ExpressionLowering
from attn_dsl.codegen.tiles import Node, Reduce, named
from attn_dsl.ir.reductions import Reduction, identity


class TileReductions:
    """Reduces nodes."""

    def __init__(self, context: KernelContext, expressions: ExpressionLowering) -> None:
        self.context = context
        self.expressions = expressions
        self.builder = context.builder

    def counts(self, guards: Sequence[Node]) -> Node | None:
        """Which elements count."""
        node = self.expressions.all_of(list(guards))
        return named(node, "counts") if node is not None and len(node.axes) > 1 else node

    def identity(self, reduce: Reduction, dtype: str) -> Node:
        """What a reduction of values of this type starts from."""
        return self.builder.const(identity(reduce.rule.identity, dtype), None if dtype == "bool" else dtype)

    def inside(self, node: Node, axes: tuple[str, ...], reduce: Reduction, scope: Scope) -> Node:
        """Lanes of padded features hold the identity."""
        for axis in axes:
            if axis not in node.axes or axis not in self.context.tiles.whole:
                continue
            if reduce.rule.identity == "0" and axis in self.context.zero_padded.get(node, ()):
                continue
            for inside in self.expressions.lane_bounds(axis, scope):
                node = self.expressions.where(inside, node, self.identity(reduce, node.dtype))
        return node

    def reduce_tile(self, operator: str, node: Node, axes: tuple[str, ...]) -> Node:
        """Reduce the axes of a node with an associative operator."""
        for axis in axes:
            rest = tuple(a for a in node.axes if a != axis)
            node = self.builder.node(Reduce(operator, axis), node, axes=rest, dtype=node.dtype)
        return node
