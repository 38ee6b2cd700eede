"""How many points of a grid satisfy a predicate, exactly, without visiting them all.

The predicate becomes alternatives of conjunctions; by inclusion and exclusion only conjunctions are counted:

    |A or B| = |A| + |B| - |A and B|

A conjunction falls into parts that share no axis, whose counts multiply (the two directions of an image). In
a part, each stream is counted for a vector of rows at once (`streams.py`), so a sliding window over a million
tokens is a few operations on vectors. Rows are taken in stretches, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import prod

import numpy as np

from attn_dsl.account.streams import StreamCounter, TooManyPoints, key_of
from attn_dsl.account.values import Array, Facts, Grid, evaluate
from attn_dsl.analysis.logic import FALSE, TRUE
from attn_dsl.analysis.predicates import Alternatives, Conjunction
from attn_dsl.ir.expr import Const, Expr, IndexVar, Op, Read
from attn_dsl.ir.walk import walk

MOST_ALTERNATIVES = 6  # 63 conjunctions to count
_ROWS = 1 << 16  # evaluated at once: their values stay in a second-level cache
_SEPARATE = 256  # streams that are counted one by one, since each has values of its own


def count(predicate: Expr, grid: Grid, streams: frozenset[str], facts: Facts) -> int:
    """The points of the grid where a total predicate holds; ``streams``: the axes that rows are counted
    along. TooManyPoints where nothing is left but to visit more of them than is reasonable."""
    names = frozenset(n for n in grid.variables if grid.axes_of(n) & streams)
    found = Alternatives(names, facts.params, facts.cascade, MOST_ALTERNATIVES).of(predicate)
    terms = _irredundant(found)
    total = 0
    for size in range(1, len(terms) + 1):
        for chosen in combinations(terms, size):
            atoms = tuple(dict.fromkeys(a for term in chosen for a in term))
            found_here = _conjunction(atoms, grid, streams, facts)
            total += found_here if size % 2 else -found_here
    return total


def exists(predicate: Expr, grid: Grid, streams: frozenset[str], facts: Facts) -> Array:
    """Which rows of the grid have a point where a total predicate holds; of length 1 along the streams."""
    names = frozenset(n for n in grid.variables if grid.axes_of(n) & streams)
    found = Alternatives(names, facts.params, facts.cascade, MOST_ALTERNATIVES).of(predicate)
    result: Array = np.zeros((1,) * len(grid.axes), dtype=np.bool_)
    for atoms in found:
        if FALSE in atoms or prod(grid.lengths.values()) == 0:
            continue
        inner = _inner(atoms, grid, streams)
        some: Array = np.ones((1,) * len(grid.axes), dtype=np.bool_)
        for stream in sorted(inner):
            mine = tuple(a for a in atoms if stream in grid.along(a))
            some = some & (StreamCounter(stream, mine, grid, facts).counts(grid) > 0)
        for atom in atoms:
            if not grid.along(atom) & inner:
                some = some & evaluate(atom, grid, facts)
        outer = tuple(at for at, a in enumerate(grid.axes) if a in streams)
        result = result | some.any(axis=outer, keepdims=True)
    return result


def _irredundant(terms: list[Conjunction]) -> list[Conjunction]:
    """Without alternatives that say more than another does."""
    sets = [frozenset(t) for t in terms]
    return [
        t for at, t in enumerate(terms)
        if not any(s < sets[at] or (s == sets[at] and other < at) for other, s in enumerate(sets))
    ]  # fmt: skip


def _conjunction(atoms: Conjunction, grid: Grid, streams: frozenset[str], facts: Facts) -> int:
    atoms = tuple(a for a in atoms if a != TRUE)
    if FALSE in atoms or prod(grid.lengths.values()) == 0:
        return 0
    for atom in atoms:
        if isinstance(atom, Op) and atom.name == "ne" and _is_key(Op("eq", atom.args), grid, streams, facts):
            rest = tuple(a for a in atoms if a is not atom)
            equal = (*rest, Op("eq", atom.args))
            return _conjunction(rest, grid, streams, facts) - _conjunction(equal, grid, streams, facts)
    result, used = 1, frozenset[str]()
    for part in _parts(atoms, grid):
        axes = frozenset(a for atom in part for a in grid.along(atom))
        used |= axes
        result *= _component(part, _restricted(grid, axes), streams & axes, facts)
        if result == 0:
            return 0
    return result * prod(n for a, n in grid.lengths.items() if a not in used)


def _is_key(atom: Op, grid: Grid, streams: frozenset[str], facts: Facts) -> bool:
    along = grid.along(atom) & streams
    return len(along) == 1 and key_of(atom, next(iter(along)), grid, facts) is not None


def _parts(atoms: Conjunction, grid: Grid) -> list[Conjunction]:
    """The atoms, those together that share an axis, also by way of others."""
    parts: list[tuple[frozenset[str], list[Expr]]] = []
    for atom in atoms:
        axes, members = grid.along(atom), [atom]
        apart: list[tuple[frozenset[str], list[Expr]]] = []
        for other_axes, other in parts:
            if axes & other_axes:
                axes, members = axes | other_axes, other + members
            else:
                apart.append((other_axes, other))
        parts = [*apart, (axes, members)]
    return [tuple(members) for _, members in parts]


def _restricted(grid: Grid, axes: frozenset[str]) -> Grid:
    """The grid over some of its axes, with the variables that vary along no other."""
    kept = tuple(a for a in grid.axes if a in axes)
    shape = tuple(grid.axes.index(a) for a in kept)
    variables = {
        n: v.reshape(tuple(v.shape[at] for at in shape))
        for n, v in grid.variables.items()
        if grid.axes_of(n) <= axes
    }
    return Grid(kept, {a: grid.lengths[a] for a in kept}, variables)


def _component(atoms: Conjunction, grid: Grid, streams: frozenset[str], facts: Facts) -> int:
    inner = _inner(atoms, grid, streams)
    named = _varies_beside(atoms, grid, inner, IndexVar)
    own = named or _varies_beside(atoms, grid, inner, Read)
    if named or (own and prod(grid.lengths[a] for a in own) <= _SEPARATE):
        axis = own[0]
        places = (grid.part(axis, at, at + 1) for at in range(grid.lengths[axis]))
        return sum(_component(atoms, place, streams, facts) for place in places)
    return _along(inner, atoms, grid, facts)


def _varies_beside(
    atoms: Conjunction, grid: Grid, inner: frozenset[str], kind: type[IndexVar | Read]
) -> tuple[str, ...]:
    """The axes of rows along which what is read along a stream is another: the batches of ``document[b, j]``,
    read as such, or as a variable of its own (its extremes in a tile)."""
    found: set[str] = set()
    for atom in atoms:
        for node in walk(atom):
            along = grid.along(node) if isinstance(node, kind) else frozenset[str]()
            found |= along - inner if along & inner else set[str]()
    return tuple(a for a in grid.axes if a in found)


def _along(inner: frozenset[str], atoms: Conjunction, grid: Grid, facts: Facts) -> int:
    counters = [
        StreamCounter(s, tuple(a for a in atoms if s in grid.along(a)), grid, facts) for s in sorted(inner)
    ]
    of_rows = [a for a in atoms if not grid.along(a) & inner]
    rows = tuple(a for a in grid.axes if a not in inner)
    total = 0
    for part in _stretches(grid, rows):
        number = evaluate(Const(1), part, facts)
        for atom in of_rows:
            number = number * evaluate(atom, part, facts)
        for counter in counters:
            number = number * counter.counts(part)
        repeated = prod(
            part.lengths[a] for at, a in enumerate(grid.axes) if a in rows and number.shape[at] == 1
        )
        total += int(number.sum()) * repeated
    return total


def _inner(atoms: Conjunction, grid: Grid, streams: frozenset[str]) -> frozenset[str]:
    """The streams that are counted along. Of those that one condition ties together, only the longest: the
    others are rows like the rest."""
    groups: list[frozenset[str]] = [frozenset({s}) for s in streams]
    for atom in atoms:
        tied = grid.along(atom) & streams
        joined = frozenset[str]().union(*(g for g in groups if g & tied))
        groups = [g for g in groups if not g & tied] + ([joined] if joined else [])
    return frozenset(max(g, key=lambda s: (grid.lengths[s], s)) for g in groups)


def _stretches(grid: Grid, rows: tuple[str, ...]) -> Iterator[Grid]:
    """The grid in parts of at most so many rows."""
    points = prod(grid.lengths[a] for a in rows)
    if points <= _ROWS:
        yield grid
        return
    axis = max(rows, key=lambda a: grid.lengths[a])
    length = grid.lengths[axis]
    step = max(1, length * _ROWS // points)
    for start in range(0, length, step):
        part = grid.part(axis, start, min(start + step, length))
        yield from _stretches(part, rows) if step == 1 else (part,)


__all__ = ["TooManyPoints", "count", "exists"]
