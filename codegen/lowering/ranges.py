"""From an iteration plan to the tiles a loop visits.

The bounds of every row are evaluated as a vector and reduced over the row tile: from the least lower to the
greatest upper bound lie the tiles to visit, from the greatest lower to the least upper those in which every
element counts. Several terms give several ranges; they are sorted and made disjoint, so that no tile is
visited twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from attn_dsl.analysis.iteration import IterationPlan, Term
from attn_dsl.analysis.widths import LARGEST_EXTENT
from attn_dsl.codegen.lowering.context import KernelContext, Scope
from attn_dsl.codegen.lowering.expressions import ExpressionLowering
from attn_dsl.codegen.tiles import Node, Reduce, named

NEVER = LARGEST_EXTENT  # beyond every element, and a tile more still has 32 bits


@dataclass(frozen=True, slots=True)
class TileRange:
    """Tiles ``first <= t < end``, of which ``full_first <= t < full_end`` need no mask."""

    first: Node
    end: Node
    full_first: Node
    full_end: Node


@dataclass(frozen=True, slots=True)
class RowBounds:
    """The first and last element of a stream index that each row needs, and which rows need any."""

    lower: Node
    upper: Node
    needed: Node | None


class RangeLowering:
    """Evaluates plans for the rows of a program."""

    def __init__(self, context: KernelContext, expressions: ExpressionLowering) -> None:
        self.context = context
        self.expressions = expressions
        self.const = context.builder.const

    def _op(self, name: str, *nodes: Node) -> Node:
        return self.expressions.operate(name, *nodes)

    def row_bounds(self, term: Term, index: str, scope: Scope) -> RowBounds:
        """The bounds of one stream index; rows whose conditions fail, or whose range is empty, need
        nothing."""
        bounds = next(b for b in term.bounds if b.index == index)
        last = self._op("sub", self.expressions.size(index), self.const(1))
        lower, upper = self.const(0), last
        for limit in bounds.lower:
            lower = self._op("max", lower, self._narrow(self.expressions.saturated(limit, scope), index))
        for limit in bounds.upper:
            upper = self._op("min", upper, self._narrow(self.expressions.saturated(limit, scope), index))
        named(lower, f"lower_{index}")
        named(upper, f"upper_{index}")
        conditions = [self.expressions.lower(c, scope) for c in term.row_conditions]
        return RowBounds(lower, upper, self.expressions.all_of(conditions))

    def _narrow(self, node: Node, index: str) -> Node:
        """A limit in 32 bits: beyond the ends of the index, all are alike."""
        if node.dtype != "i64":
            return node
        end = self.expressions.cast(self.expressions.size(index), "i64")
        clamped = self._op("clamp", node, self.const(-1, "i64"), end)
        return self.expressions.cast(clamped, "i32")

    def non_empty(self, plan: IterationPlan, streams: tuple[str, ...], scope: Scope) -> Node:
        """Which rows have an element, for a plan in closed form."""
        result: Node | None = None
        for term in plan.terms:
            conditions: list[Node] = []
            for index in streams:
                bounds = self.row_bounds(term, index, scope)
                conditions.append(self._op("le", bounds.lower, bounds.upper))
                conditions += [] if bounds.needed is None else [bounds.needed]
            some = self.expressions.all_of(list(dict.fromkeys(conditions)))
            assert some is not None
            result = some if result is None else self._op("or", result, some)
        return self.const(False) if result is None else result

    def tile_range(self, term: Term, index: str, tile: int, scope: Scope, *, full: bool) -> TileRange:
        """The tiles of one stream index that the program's rows visit for one term."""
        bounds = self.row_bounds(term, index, scope)
        exists = self._rows_exist(scope)
        needed = self._op("le", bounds.lower, bounds.upper)
        for condition in (bounds.needed, exists if needed.axes or bounds.needed is not None else None):
            needed = needed if condition is None else self._op("and", needed, condition)
        low = self._reduce("min", self.expressions.where(needed, bounds.lower, self.const(NEVER)))
        high = self._reduce("max", self.expressions.where(needed, bounds.upper, self.const(-1)))
        first = self.expressions.tiles(low, index, tile)
        beyond = self._op("add", high, self.const(1))
        end = self._op("max", self.expressions.tiles(beyond, index, tile, up=True), first)
        named(first, f"first_{index}")
        named(end, f"end_{index}")
        if not full:
            return TileRange(first, end, first, first)
        found = self._full(bounds, exists, TileRange(first, end, first, end), index, tile)
        named(found.full_first, f"full_first_{index}")
        named(found.full_end, f"full_end_{index}")
        return found

    def _full(self, bounds: RowBounds, exists: Node, some: TileRange, index: str, tile: int) -> TileRange:
        """The tiles of a range that need no mask."""
        lower, upper = bounds.lower, bounds.upper
        if bounds.needed is not None:
            lower = self.expressions.where(bounds.needed, lower, self.const(NEVER))
            upper = self.expressions.where(bounds.needed, upper, self.const(-1))
        if lower.axes:
            lower = self._reduce("max", self.expressions.where(exists, lower, self.const(0)))
        if upper.axes:
            upper = self._reduce("min", self.expressions.where(exists, upper, self.const(NEVER)))
        start = self._op("max", lower, self.const(0))
        full_first = self._clip(self.expressions.tiles(start, index, tile, up=True), some.first, some.end)
        stop = self._op("max", self._op("add", upper, self.const(1)), self.const(0))
        full_end = self._clip(self.expressions.tiles(stop, index, tile), full_first, some.end)
        return TileRange(some.first, some.end, full_first, full_end)

    def _clip(self, node: Node, low: Node, high: Node) -> Node:
        return self._op("min", self._op("max", node, low), high)

    def _rows_exist(self, scope: Scope) -> Node:
        conditions = [c for r in self.context.plan.rows for c in self.expressions.lane_bounds(r, scope)]
        exists = self.expressions.all_of(conditions)
        return self.const(True) if exists is None else exists

    def _reduce(self, operator: str, node: Node) -> Node:
        while node.axes:
            axis, *rest = node.axes
            node = self.context.builder.node(Reduce(operator, axis), node, axes=tuple(rest), dtype=node.dtype)
        return node

    def disjoint(self, ranges: list[TileRange], index: str) -> list[TileRange]:
        """The same tiles, each once, in ascending order."""
        ordered = list(ranges)
        for end in range(len(ordered) - 1, 0, -1):
            for at in range(end):
                ordered[at], ordered[at + 1] = self._sorted_pair(ordered[at], ordered[at + 1])
        result: list[TileRange] = []
        reached: Node | None = None
        for item in ordered:
            first = item.first if reached is None else self._op("max", item.first, reached)
            end = self._op("max", item.end, first) if reached is not None else item.end
            full_first = self._clip(item.full_first, first, end) if reached is not None else item.full_first
            full_end = self._clip(item.full_end, full_first, end) if reached is not None else item.full_end
            for node, name in (
                (first, "first"),
                (end, "end"),
                (full_first, "full_first"),
                (full_end, "full_end"),
            ):
                named(node, f"{name}_{index}_of_{len(result) + 1}")
            result.append(TileRange(first, end, full_first, full_end))
            reached = end
        return result

    def _sorted_pair(self, a: TileRange, b: TileRange) -> tuple[TileRange, TileRange]:
        swap = named(self._op("lt", b.first, a.first), "swapped")
        pick = self.expressions.where
        return (
            TileRange(
                pick(swap, b.first, a.first), pick(swap, b.end, a.end),
                pick(swap, b.full_first, a.full_first), pick(swap, b.full_end, a.full_end),
            ),
            TileRange(
                pick(swap, a.first, b.first), pick(swap, a.end, b.end),
                pick(swap, a.full_first, b.full_first), pick(swap, a.full_end, b.full_end),
            ),
        )  # fmt: skip
