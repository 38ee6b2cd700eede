"""How many elements of one stream each row of a vector of rows has, for a conjunction of conditions.

Each condition is put to its cheapest use:

    j <= i + 3,  j // 64 < i // 64     a *bound*: what the stream's side holds ascends, so it is found by bisection
    doc[j] == doc[i],  (i - j) % 7 == 0    a *key*: positions sorted by key, a row's are next to each other
    j % 2 == 0                         a *filter*, of the stream alone: running counts of what passes
    hash(i - j) < 3                    of the *distance*: running counts over distances
    anything else                      tried out, once for each value that the row's side and the stream's side take

What is tried out is tried between a row's bounds alone, in stretches of bounded memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attn_dsl.account.values import Array, Facts, Grid, evaluate
from attn_dsl.analysis.linear import linear_form, rebuild, solve
from attn_dsl.analysis.predicates import is_integral
from attn_dsl.ir.expr import Const, Expr, IndexVar, Op
from attn_dsl.ir.operators import COMPARISONS
from attn_dsl.ir.walk import children, index_names, with_children

_MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
_POINTS = 1 << 21  # tried at once
MOST_POINTS = 1 << 28  # tried at all: some seconds
_DISTANCE = "distance"


class TooManyPoints(Exception):
    """Nothing is left but to try out more points than is reasonable."""


@dataclass(frozen=True, slots=True)
class _Key:
    """``stream == row`` where ``holds`` (of the row)."""

    stream: Expr
    row: Expr
    holds: Expr | None = None


@dataclass(frozen=True, slots=True)
class _Bound:
    """``values`` of the stream's side, not descending, compared with the row's side. ``consecutive``: they
    ascend by one."""

    values: Array
    name: str
    row: Expr
    consecutive: bool


def key_of(atom: Op, stream: str, grid: Grid, facts: Facts) -> _Key | None:
    """An equality as a key, or None where the two sides do not part."""
    sides = _sides(atom, stream, grid, facts)
    if sides is not None:
        of_stream, of_row = sides
        if isinstance(of_stream, Op) and of_stream.name == "neg":  # what ascends need not be sorted
            return _Key(of_stream.args[0], Op("neg", (of_row,)))
        return _Key(of_stream, of_row)
    for remainder, other in (atom.args, atom.args[::-1]):
        if isinstance(remainder, Op) and remainder.name == "mod" and stream not in grid.along(other):
            dividend, divisor = remainder.args
            parts = _parted(dividend, stream, grid, facts)
            if parts is None or grid.along(divisor) or not _is_positive(divisor, grid, facts):
                continue
            inside = Op("and", (Op("le", (Const(0), other)), Op("lt", (other, divisor))))
            return _Key(
                Op("mod", (parts[0], divisor)), Op("mod", (Op("sub", (other, parts[1])), divisor)), inside
            )
    return None


def _is_positive(expr: Expr, grid: Grid, facts: Facts) -> bool:
    return bool((evaluate(expr, grid, facts) > 0).all())


def _parted(expr: Expr, stream: str, grid: Grid, facts: Facts) -> tuple[Expr, Expr] | None:
    """An integer expression as a sum of the stream's share and the rows'."""
    if not is_integral(expr, facts.cascade):
        return None
    terms, constant = linear_form(expr)
    of_stream = {t: c for t, c in terms.items() if stream in grid.along(t)}
    if any(grid.along(t) != frozenset({stream}) for t in of_stream):
        return None
    of_rows = {t: c for t, c in terms.items() if t not in of_stream}
    return rebuild(of_stream, 0), rebuild(of_rows, constant)


def _sides(atom: Op, stream: str, grid: Grid, facts: Facts) -> tuple[Expr, Expr] | None:
    """A comparison as one of the stream's side with the rows' side."""
    a, b = atom.args
    if not is_integral(atom, facts.cascade):
        if grid.along(a) == frozenset({stream}) and stream not in grid.along(b):
            return a, b
        return None
    parts = _parted(Op("sub", (a, b)), stream, grid, facts)
    return None if parts is None else (parts[0], Op("neg", (parts[1],)))


class StreamCounter:
    """Counts along one axis of a grid; ``atoms``: the conditions that vary along it."""

    def __init__(self, stream: str, atoms: Sequence[Expr], grid: Grid, facts: Facts) -> None:
        self.stream, self.grid, self.facts = stream, grid, facts
        self.length = grid.lengths[stream]
        self.at = grid.axes.index(stream)
        self.bounds: list[_Bound] = []
        self.keys: list[_Key] = []
        self.keyed: list[Expr] = []
        self.rest: list[Expr] = []
        self.filter: Array | None = None
        for atom in atoms:
            self._classify(atom)
        if self.rest:
            self.rest += self.keyed
            self.keys = []
        counted = self.filter is not None or bool(self.rest)
        self.passed: Array = self._running(self.filter) if counted else None
        self.sorted = _Sorted(self) if self.keys else None
        distance = _by_distance(self) if self.rest and self.filter is None else None
        self.trial = distance or (_Trial(self) if self.rest else None)

    def _classify(self, atom: Expr) -> None:
        if self.grid.along(atom) == frozenset({self.stream}):
            values = self.along_stream(atom).astype(np.bool_)
            self.filter = values if self.filter is None else self.filter & values
            return
        if not (isinstance(atom, Op) and atom.name in COMPARISONS):
            self.rest.append(atom)
        elif atom.name == "eq" and (key := key_of(atom, self.stream, self.grid, self.facts)) is not None:
            self.keys.append(key)
            self.keyed.append(atom)
        elif atom.name in ("eq", "ne") or not self._bound(atom):
            self.rest.append(atom)

    def _bound(self, atom: Op) -> bool:
        """Take a comparison as a bound, if it is one."""
        sides = _sides(atom, self.stream, self.grid, self.facts)
        if sides is None:
            mirrored = Op(_MIRRORED[atom.name], atom.args[::-1])
            sides = _sides(mirrored, self.stream, self.grid, self.facts)
            atom = mirrored if sides is not None else atom
        if sides is None:
            return self._solved(atom)
        values = self.along_stream(sides[0])
        steps = np.diff(values)
        ends = (int(steps.min()), int(steps.max())) if steps.dtype.kind == "i" and len(steps) else None
        if (steps >= 0).all():
            self.bounds.append(_Bound(values, atom.name, sides[1], ends == (1, 1)))
        elif (steps <= 0).all():
            flipped = Op("neg", (sides[1],))
            self.bounds.append(_Bound(-values, _MIRRORED[atom.name], flipped, ends == (-1, -1)))
        else:
            return False
        return True

    def _solved(self, atom: Op) -> bool:
        """A bound whose stream's side has a factor of the rows': ``j * k <= g`` is ``j <= g // k``."""
        a, b = atom.args if atom.name in ("le", "lt") else atom.args[::-1]
        if not is_integral(atom, self.facts.cascade):
            return False
        strict = Const(1 if atom.name in ("lt", "gt") else 0)
        found = solve(Op("add", (Op("sub", (a, b)), strict)), frozenset({self.stream}), self.facts.params)
        if found is None or found.index != self.stream:
            return False
        values = self.along_stream(IndexVar(self.stream))
        self.bounds.append(_Bound(values, "le" if found.upper else "ge", found.limit, False))
        return True

    def along_stream(self, expr: Expr) -> Array:
        """The values of an expression of the stream alone, as a vector."""
        return np.broadcast_to(evaluate(expr, self.grid, self.facts).reshape(-1), (self.length,))

    def _running(self, chosen: Array | None) -> Array:
        """How many positions before each pass the filter."""
        ones = np.ones(self.length, dtype=np.int64) if chosen is None else chosen.astype(np.int64)
        return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(ones)])

    def counts(self, part: Grid) -> Array:
        """How many elements each row of a part of the grid has; of length 1 along the stream."""
        first, end = self._range(part)
        if self.trial is not None:
            return self.trial.counts(part, first, end)
        if self.sorted is not None:
            return self.sorted.counts(part, first, end)
        if self.filter is None:
            return end - first
        return self.passed[end] - self.passed[first]

    def _range(self, part: Grid) -> tuple[Array, Array]:
        """The positions between all bounds: ``first <= j < end``."""
        scalar = (1,) * len(part.axes)
        first, end = np.zeros(scalar, dtype=np.int64), np.full(scalar, self.length, dtype=np.int64)
        for bound in self.bounds:
            limit = evaluate(bound.row, part, self.facts)
            upper = bound.name in ("lt", "le")
            place = self._place(bound, limit, beyond=bound.name in ("le", "gt"))
            end, first = (np.minimum(end, place), first) if upper else (end, np.maximum(first, place))
        return np.minimum(first, end), end

    def _place(self, bound: _Bound, limit: Array, *, beyond: bool) -> Array:
        """How many of the stream's values lie below a limit, or are not above it."""
        if bound.consecutive and limit.dtype.kind == "i":
            return np.clip(limit + (int(beyond) - int(bound.values[0])), 0, self.length)
        return np.searchsorted(bound.values, limit, side="right" if beyond else "left").astype(np.int64)


class _Sorted:
    """Positions sorted by their keys: those that a row shares its keys with lie next to each other."""

    def __init__(self, counter: StreamCounter) -> None:
        self.counter = counter
        chosen = np.arange(counter.length, dtype=np.int64)
        if counter.filter is not None:
            chosen = chosen[counter.filter]
        self.tables: list[Array] = []
        codes = np.zeros(len(chosen), dtype=np.int64)
        for key in counter.keys:
            table, rank = _ranks(counter.along_stream(key.stream)[chosen])
            codes = codes * len(table) + rank
            self.tables.append(table)
        # Several keys are numbered by what occurs together, so that the codes stay small.
        self.codes, codes = _ranks(codes) if len(self.tables) > 1 else (None, codes)
        self.number = int(codes.max()) + 1 if len(codes) else 0
        code = codes * (counter.length + 1) + chosen
        self.ordered = code if (np.diff(code) > 0).all() else np.sort(code)

    def counts(self, part: Grid, first: Array, end: Array) -> Array:
        """As `StreamCounter.counts`."""
        code = np.zeros((1,) * len(part.axes), dtype=np.int64)
        known = np.ones((1,) * len(part.axes), dtype=np.bool_)
        for key, table in zip(self.counter.keys, self.tables, strict=True):
            place, found = _look_up(table, evaluate(key.row, part, self.counter.facts))
            code, known = code * max(len(table), 1) + place, known & found
            if key.holds is not None:
                known = known & evaluate(key.holds, part, self.counter.facts)
        if self.codes is not None:
            code, found = _look_up(self.codes, code)
            known = known & found
        if first.size == end.size == 1:  # the same stretch for every row: counted once for each key
            each = self._between(np.arange(self.number, dtype=np.int64), first.ravel(), end.ravel())
            return np.where(known, each[code] if self.number else 0, 0)
        return np.where(known, self._between(code, first, end), 0)

    def _between(self, code: Array, first: Array, end: Array) -> Array:
        """How many positions with a key's code lie in a stretch of the stream."""
        base = code * (self.counter.length + 1)
        return np.searchsorted(self.ordered, base + end) - np.searchsorted(self.ordered, base + first)


def _ranks(values: Array) -> tuple[Array, Array]:
    """The values that occur, ascending, and which of them each is."""
    steps = np.diff(values)
    if not len(values) or (steps >= 0).all():
        first = np.concatenate([np.ones(min(len(values), 1), dtype=np.bool_), steps > 0])
        return values[first], np.cumsum(first) - 1
    table, rank = np.unique(values, return_inverse=True)
    return table, rank.reshape(-1)


def _look_up(table: Array, values: Array) -> tuple[Array, Array]:
    """Where values stand in a sorted table, and whether they do."""
    if not len(table):
        return np.zeros_like(values), np.zeros(values.shape, dtype=np.bool_)
    place = np.minimum(np.searchsorted(table, values), len(table) - 1)
    return place, table[place] == values


class _Distances:
    """Conditions on the distance ``j + r`` alone, r of the row: running counts over all distances there
    are."""

    def __init__(self, counter: StreamCounter, conditions: list[Expr], row: Expr) -> None:
        self.row, self.facts = row, counter.facts
        offsets = evaluate(row, counter.grid, counter.facts)
        self.least = int(offsets.min())
        reach = int(offsets.max()) - self.least + counter.length
        if reach > MOST_POINTS:
            raise TooManyPoints(f"{reach} distances")
        distances = np.arange(self.least, self.least + reach, dtype=np.int64)
        grid = Grid((_DISTANCE,), {_DISTANCE: reach}, {_DISTANCE: distances})
        holds = np.ones(reach, dtype=np.bool_)
        for condition in conditions:
            holds = holds & evaluate(condition, grid, counter.facts)
        self.running = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(holds)])

    def counts(self, part: Grid, first: Array, end: Array) -> Array:
        """As `StreamCounter.counts`."""
        shift = evaluate(self.row, part, self.facts) - self.least
        return self.running[end + shift] - self.running[first + shift]


def _by_distance(counter: StreamCounter) -> _Distances | None:
    """The conditions that are left as ones of a single distance, or None."""
    shifts: set[tuple[tuple[Expr, int], ...]] = set()
    me = IndexVar(counter.stream)

    def rule(expr: Expr) -> Expr:
        if not isinstance(expr, Op) or expr.name not in ("add", "sub", "neg"):
            return _descend(expr)
        terms, constant = linear_form(expr)
        sign = terms.get(me, 0)
        others = {t: c * sign for t, c in terms.items() if t != me and counter.grid.along(t)}
        free = {t: c for t, c in terms.items() if t != me and not counter.grid.along(t)}
        if abs(sign) != 1 or any(counter.stream in counter.grid.along(t) for t in others):
            return _descend(expr)
        shifts.add(tuple(sorted(others.items(), key=repr)))
        return rebuild({IndexVar(_DISTANCE): sign, **free}, constant)

    def _descend(expr: Expr) -> Expr:
        parts = children(expr)
        return with_children(expr, tuple(map(rule, parts))) if parts else expr

    values = counter.grid.variables.get(counter.stream)
    if values is None or not np.array_equal(values.reshape(-1), np.arange(counter.length)):
        return None
    conditions = [rule(atom) for atom in counter.rest]
    bare = {n for c in conditions for n in index_names(c)}
    if len(shifts) != 1 or bare != {_DISTANCE}:
        return None
    return _Distances(counter, conditions, rebuild(dict(next(iter(shifts))), 0))


class _Trial:
    """Conditions tried out for each combination of what the row's side and the stream's side take."""

    def __init__(self, counter: StreamCounter) -> None:
        self.counter = counter
        self.budget = MOST_POINTS
        self.of_rows: dict[Expr, str] = {}
        self.of_stream: dict[Expr, str] = {}
        self.conditions = [self._featured(atom) for atom in counter.rest]
        columns = [counter.along_stream(e) for e in self.of_stream]
        changes = np.zeros(max(counter.length - 1, 0), dtype=np.bool_)
        for column in columns:
            changes |= column[1:] != column[:-1]
        self.starts = np.concatenate([np.zeros(1, dtype=np.int64), np.flatnonzero(changes) + 1])
        self.columns = [c[self.starts] if counter.length else c for c in columns]
        self.run_of = np.cumsum(np.concatenate([[0], changes, [1]])) if counter.length else np.zeros(1, int)
        ends = np.concatenate([self.starts[1:], [counter.length]])
        self.weights = counter.passed[ends] - counter.passed[self.starts]

    def _featured(self, expr: Expr) -> Expr:
        """The condition over what varies with the rows alone and with the stream alone, as variables."""
        along = self.counter.grid.along(expr)
        if not along and not index_names(expr):
            return expr
        if along == frozenset({self.counter.stream}):
            return IndexVar(self.of_stream.setdefault(expr, f"stream:{len(self.of_stream)}"))
        if self.counter.stream not in along:
            return IndexVar(self.of_rows.setdefault(expr, f"row:{len(self.of_rows)}"))
        return with_children(expr, tuple(map(self._featured, children(expr))))

    def counts(self, part: Grid, first: Array, end: Array) -> Array:
        """As `StreamCounter.counts`."""
        features = [evaluate(e, part, self.counter.facts) for e in self.of_rows]
        shape = np.broadcast_shapes(first.shape, end.shape, *(f.shape for f in features))
        first, end = (np.broadcast_to(x, shape).reshape(-1) for x in (first, end))
        flat = [np.broadcast_to(f, shape).reshape(-1) for f in features]
        classes, of_row = _classes(flat, len(first))
        needed = self.run_of[np.maximum(end[classes] - 1, 0)] + 1 - self.run_of[first[classes]]
        self._spend(int(np.maximum(needed, 0).sum()))
        order = np.argsort(of_row, kind="stable")
        bounds = np.searchsorted(of_row[order], np.arange(len(classes) + 1))
        found = np.zeros(len(first), dtype=np.int64)
        stack = [(0, len(classes))]
        while stack:
            low, high = stack.pop()
            rows = order[bounds[low] : bounds[high]]
            rows = rows[end[rows] > first[rows]]
            if not len(rows):
                continue
            runs = int(self.run_of[first[rows].min()]), int(self.run_of[end[rows].max() - 1]) + 1
            points = (high - low) * (runs[1] - runs[0])
            if points > _POINTS and high - low > 1:
                middle = (low + high) // 2
                stack += [(low, middle), (middle, high)]
                continue
            chosen = [f[classes[low:high]] for f in flat]
            found[rows] = self._tried(chosen, of_row[rows] - low, first[rows], end[rows], runs)
        return found.reshape(shape)

    def _spend(self, points: int) -> None:
        self.budget -= points
        if self.budget < 0:
            raise TooManyPoints(f"more than {MOST_POINTS} pairs would have to be tried")

    def _tried(
        self, features: list[Array], of_row: Array, first: Array, end: Array, runs: tuple[int, int]
    ) -> Array:
        """Counts for rows of some classes, over a range of runs that holds all their bounds."""
        number = len(features[0]) if features else 1
        variables = {n: f[:, None] for n, f in zip(self.of_rows.values(), features, strict=True)}
        cut = slice(*runs)
        variables |= {n: c[cut][None] for n, c in zip(self.of_stream.values(), self.columns, strict=True)}
        grid = Grid(("class", "run"), {"class": number, "run": runs[1] - runs[0]}, variables)
        holds = np.ones((number, runs[1] - runs[0]), dtype=np.bool_)
        for condition in self.conditions:
            holds = holds & evaluate(condition, grid, self.counter.facts)
        before = np.zeros((number, runs[1] - runs[0] + 1), dtype=np.int64)
        np.cumsum(holds * self.weights[cut], axis=1, out=before[:, 1:])

        def up_to(position: Array) -> Array:
            run = np.minimum(self.run_of[position], runs[1])
            inside = np.minimum(run, runs[1] - 1)
            passed = self.counter.passed
            partly = np.where(run < runs[1], passed[position] - passed[self.starts[inside]], 0)
            return before[of_row, run - runs[0]] + holds[of_row, inside - runs[0]] * partly

        return up_to(end) - up_to(first)


def _classes(features: list[Array], rows: int) -> tuple[Array, Array]:
    """A row of each combination of features, and the number of every row's combination, in order of
    appearance of the sorted features."""
    code = np.zeros(rows, dtype=np.int64)
    for feature in features:
        table, place = np.unique(feature, return_inverse=True)
        code = code * len(table) + place.reshape(-1)
        code = np.unique(code, return_inverse=True)[1].reshape(-1)
    _, some, of_row = np.unique(code, return_index=True, return_inverse=True)
    return some, of_row.reshape(-1)
