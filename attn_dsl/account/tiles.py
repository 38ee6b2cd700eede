"""The tiles a loop visits, for every program at once: the rules of the generated kernels, evaluated by numpy.

For the rows of each program the bounds of the plan are reduced over its tile, from the least lower to the
greatest upper bound lie the tiles to visit, from the greatest lower to the least upper those in which every
element counts (`codegen/lowering/ranges.py` does this in the kernel). Where an interval test decides, it is a
predicate over tiles, whose variables are the ends of a tile and the extremes of what is read in it; how many
tiles pass is counted like any predicate (`counting.py`), never tile by tile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from attn_dsl.account.counting import count
from attn_dsl.account.values import Array, Facts, Grid, axis_values, evaluate, grid
from attn_dsl.analysis.interval import Extremum, interval_test
from attn_dsl.analysis.iteration import Term
from attn_dsl.analysis.logic import conjunction
from attn_dsl.codegen.tiles import Share, Visits
from attn_dsl.ir.expr import Expr, IndexVar, Op

_NEVER = 2**30
_FIRST, _END = "first tile", "end tile"


@dataclass(frozen=True, slots=True)
class Rows:
    """Who visits: the rows of a kernel with their tiles, and its program indices. An index that a tile holds
    whole is a row with one tile."""

    programs: tuple[str, ...]
    rows: tuple[tuple[str, int], ...]

    @property
    def indices(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.programs, *(r for r, _ in self.rows))


@dataclass(frozen=True, slots=True)
class TileCount:
    """Pairs of a program and a tile: ``visited`` by a loop, ``full`` of them without a mask, ``total``: all
    there are; ``tested``: those between the bounds, on which an interval test decides where there is one."""

    total: int
    visited: int
    full: int
    tested: int

    @property
    def partial(self) -> int:
        """Visited with a mask."""
        return self.visited - self.full

    @property
    def empty(self) -> int:
        """Never visited."""
        return self.total - self.visited

    def to_dict(self) -> dict[str, int]:
        """Plain data."""
        return {
            "total": self.total, "empty": self.empty, "partial": self.partial, "full": self.full,
            "visited": self.visited, "tested": self.tested,
        }  # fmt: skip

    def __add__(self, other: TileCount) -> TileCount:
        mine = (self.total, self.visited, self.full, self.tested)
        theirs = (other.total, other.visited, other.full, other.tested)
        return TileCount(*(a + b for a, b in zip(mine, theirs, strict=True)))


@dataclass(frozen=True, slots=True)
class Range:
    """The tiles of one term along one stream, arrays over programs."""

    first: Array
    end: Array
    full_first: Array
    full_end: Array


def count_tiles(visits: Visits, rows: Rows, tiles: Mapping[str, int], facts: Facts) -> TileCount:
    """What the loops of one plan visit together, over all programs. ``tiles``: the lanes of each stream
    index."""
    return Visiting(visits, rows, tiles, facts).count()


class Visiting:
    """What the loops of one plan visit: ranges of tiles for every program, and the test on the tiles in
    them."""

    def __init__(self, visits: Visits, rows: Rows, tiles: Mapping[str, int], facts: Facts) -> None:
        self.visits, self.rows, self.tiles, self.facts = visits, rows, tiles, facts
        self.grid = grid({i: facts.sizes[i] for i in rows.indices})
        self.programs = [
            -(-facts.sizes[i] // dict(rows.rows).get(i, 1)) for i in rows.indices
        ]  # along each axis of the grid
        self.counts = {s: -(-facts.sizes[s] // tiles[s]) for s in visits.stream}

    def count(self) -> TileCount:
        """Their number, by kind."""
        programs = prod(self.programs)
        total = programs * prod(self.counts.values())
        if total == 0 or not self.visits.plan.terms:
            return TileCount(total, 0, 0, 0)
        if len(self.visits.stream) == 1:
            return self._line(total)
        return self._box(total)

    # one stream index: the ranges of all terms, each tile once

    def ranges(self) -> list[Range]:
        """The tiles of all terms along the only stream index, each tile in one range."""
        mixed = self.visits.share is not Share.ALL
        found = (
            self._range(t, self.visits.stream[0], full=mixed and not t.residual)
            for t in self.visits.plan.terms
        )
        return _disjoint(list(found))

    def _line(self, total: int) -> TileCount:
        stream = self.visits.stream[0]
        ranges = self.ranges()
        full = sum(self._sum(r.full_end - r.full_first) for r in ranges)
        between = sum(self._sum(r.end - r.first) for r in ranges)
        if self.visits.tested is None:
            return TileCount(total, between, full, between)
        boxes = [{stream: (r.first, r.end)} for r in ranges]
        return TileCount(total, sum(self._tested(b, self.visits.tested) for b in boxes), full, between)

    # several: the box around all terms

    def box(self) -> dict[str, Range]:
        """The tiles along each stream index; those without a mask are of the first term."""
        box: dict[str, Range] = {}
        for stream in self.visits.stream:
            found = [
                self._range(t, stream, full=self.visits.share is not Share.ALL)
                for t in self.visits.plan.terms
            ]
            first, end = found[0].first, np.where(found[0].first < found[0].end, found[0].end, 0)
            for other in found[1:]:
                first = np.minimum(first, other.first)
                end = np.maximum(end, np.where(other.first < other.end, other.end, 0))
            box[stream] = Range(first, np.maximum(end, first), found[0].full_first, found[0].full_end)
        return box

    def _box(self, total: int) -> TileCount:
        ranges = self.box()
        box = {stream: (r.first, r.end) for stream, r in ranges.items()}
        inside = np.ones((), dtype=np.int64)
        for found in ranges.values():
            inside = inside * (found.full_end - found.full_first)
        unmasked = self._sum(inside) if self.visits.share is not Share.ALL else 0
        between = np.ones((), dtype=np.int64)
        for first, end in box.values():
            between = between * (end - first)
        inside_box = self._sum(between)
        if self.visits.tested is None:
            return TileCount(total, inside_box, unmasked, inside_box)
        return TileCount(total, self._tested(box, self.visits.tested), unmasked, inside_box)

    # ranges

    def _range(self, term: Term, stream: str, *, full: bool) -> Range:
        """As ``RangeLowering.tile_range`` in the kernel."""
        lower, upper, needed = self._bounds(term, stream)
        wanted = (lower <= upper) & needed
        tile = self.tiles[stream]
        low = self._reduced(np.minimum, np.where(wanted, lower, _NEVER), _NEVER)
        high = self._reduced(np.maximum, np.where(wanted, upper, -1), -1)
        first = low // tile
        end = np.maximum((high + tile) // tile, first)
        if not full:
            return Range(first, end, first, first)
        most = self._reduced(np.maximum, np.where(needed, lower, _NEVER), 0)
        least = self._reduced(np.minimum, np.where(needed, upper, -1), _NEVER)
        full_first = np.minimum(np.maximum((np.maximum(most, 0) + tile - 1) // tile, first), end)
        full_end = np.minimum(np.maximum(np.maximum(least + 1, 0) // tile, full_first), end)
        return Range(first, end, full_first, full_end)

    def _bounds(self, term: Term, stream: str) -> tuple[Array, Array, Array]:
        """The first and last element each row needs, and whether it needs any."""
        bounds = next(b for b in term.bounds if b.index == stream)
        scalar = (1,) * len(self.grid.axes)
        lower = np.zeros(scalar, dtype=np.int64)
        upper = np.full(scalar, self.facts.sizes[stream] - 1, dtype=np.int64)
        for limit in bounds.lower:
            lower = np.maximum(lower, self._clamped(limit))
        for limit in bounds.upper:
            upper = np.minimum(upper, self._clamped(limit))
        needed = np.ones(scalar, dtype=np.bool_)
        for condition in term.row_conditions:
            needed = needed & evaluate(condition, self.grid, self.facts)
        return lower, upper, needed

    def _clamped(self, limit: Expr) -> Array:
        return np.clip(evaluate(limit, self.grid, self.facts), -_NEVER, _NEVER)

    def _reduced(self, operator: np.ufunc, values: Array, beyond: int) -> Array:
        """The extreme over the rows of each program; rows beyond the end hold ``beyond``."""
        for index, tile in self.rows.rows:
            at = self.grid.axes.index(index)
            length = values.shape[at]
            if length <= 1:
                continue
            starts = np.arange(0, length, tile)
            values = operator.reduceat(values, starts, axis=at)
        return values

    def _sum(self, values: Array) -> int:
        """The sum over all programs of what may not vary with some."""
        return int(values.sum()) * prod(
            n
            for n, length in zip(self.programs, _padded(values.shape, len(self.programs)), strict=True)
            if length == 1
        )

    # interval tests

    def _tested(self, box: Mapping[str, tuple[Array, Array]], guard: Expr) -> int:
        """The tiles of a box in which some element may count."""
        over, possible = self.possible(guard)
        variables, condition = dict(over.variables), possible
        for stream, (first, end) in box.items():
            variables[f"{_FIRST} {stream}"] = first.reshape(*first.shape, *(1 for _ in self.visits.stream))
            variables[f"{_END} {stream}"] = end.reshape(*end.shape, *(1 for _ in self.visits.stream))
            at = IndexVar(stream)
            condition = conjunction(
                Op("ge", (at, IndexVar(f"{_FIRST} {stream}"))),
                Op("lt", (at, IndexVar(f"{_END} {stream}"))),
                condition,
            )
        return count(condition, over.with_variables(variables), frozenset(self.visits.stream), self.facts)

    def possible(self, guard: Expr) -> tuple[Grid, Expr]:
        """Every pair of a program and a tile as a grid, and in which of them the guard may hold."""
        test = interval_test(guard, self.facts.params, self.facts.cascade)
        axes = (*self.rows.indices, *self.visits.stream)
        lengths = dict(zip(self.rows.indices, self.programs, strict=True)) | self.counts
        variables = dict(grid(lengths).variables)
        for index in axes:
            variables |= self._ends(axes, index, lengths[index])
        for extremum in test.extrema:
            variables |= self._extremes(axes, extremum)
        return Grid(axes, lengths, variables), test.possible

    def _tile_of(self, index: str) -> int:
        return {**dict(self.rows.rows), **self.tiles}.get(index, 1)

    def _ends(self, axes: tuple[str, ...], index: str, number: int) -> dict[str, Array]:
        """The first and the last position of every tile of an index."""
        start = np.arange(number, dtype=np.int64) * self._tile_of(index)
        last = np.minimum(start + self._tile_of(index) - 1, self.facts.sizes[index] - 1)
        return {f"lo:{index}": axis_values(axes, index, start), f"hi:{index}": axis_values(axes, index, last)}

    def _extremes(self, axes: tuple[str, ...], extremum: Extremum) -> dict[str, Array]:
        """The least and greatest element that a read meets in every tile."""
        used = tuple(s.name for s in extremum.read.indices if isinstance(s, IndexVar))
        over = grid({a: self.facts.sizes[a] if a in used else 1 for a in axes})
        values = evaluate(extremum.read, over, self.facts)
        low = high = values.astype(np.int64)
        for at, index in enumerate(axes):
            if low.shape[at] > 1:
                starts = np.arange(0, low.shape[at], self._tile_of(index))
                low, high = np.minimum.reduceat(low, starts, at), np.maximum.reduceat(high, starts, at)
        return {f"lo:{extremum.name}": low, f"hi:{extremum.name}": high}


def _padded(shape: tuple[int, ...], axes: int) -> tuple[int, ...]:
    return shape if len(shape) == axes else (1,) * axes


def _disjoint(ranges: list[Range]) -> list[Range]:
    """The same tiles, each once, in ascending order: as ``RangeLowering.disjoint`` in the kernel."""
    ordered = list(ranges)
    for last in range(len(ordered) - 1, 0, -1):
        for at in range(last):
            ordered[at], ordered[at + 1] = _sorted_pair(ordered[at], ordered[at + 1])
    result: list[Range] = []
    reached: Array | None = None
    for item in ordered:
        if reached is None:
            result.append(item)
            reached = item.end
            continue
        first = np.maximum(item.first, reached)
        end = np.maximum(item.end, first)
        full_first = np.minimum(np.maximum(item.full_first, first), end)
        full_end = np.minimum(np.maximum(item.full_end, full_first), end)
        result.append(Range(first, end, full_first, full_end))
        reached = end
    return result


def _sorted_pair(a: Range, b: Range) -> tuple[Range, Range]:
    swap = b.first < a.first

    def pick(x: Range, y: Range) -> Range:
        return Range(
            np.where(swap, y.first, x.first), np.where(swap, y.end, x.end),
            np.where(swap, y.full_first, x.full_first), np.where(swap, y.full_end, x.full_end),
        )  # fmt: skip

    return pick(a, b), pick(b, a)
