"""The kind of every single tile, for pictures: the rules of ``tiles.py``, tile by tile instead of counted."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from math import prod

import numpy as np
from numpy.typing import NDArray

from attn_dsl.account.tiles import Range, Rows, Visiting
from attn_dsl.account.values import Array, Facts, evaluate
from attn_dsl.codegen.tiles import Share, Visits


class TileKind(IntEnum):
    """What a kernel does with a tile: nothing, the mask on every element, no mask at all."""

    EMPTY = 0
    PARTIAL = 1
    FULL = 2


def map_tiles(visits: Visits, rows: Rows, tiles: Mapping[str, int], facts: Facts) -> NDArray[np.int8]:
    """A `TileKind` for every pair of a program and a tile; axes are ``rows.indices``, then the stream's. The
    sums over it are what ``count_tiles`` gives."""
    visiting = Visiting(visits, rows, tiles, facts)
    shape = (*visiting.programs, *visiting.counts.values())
    if prod(shape) == 0 or not visits.plan.terms:
        return np.zeros(shape, dtype=np.int8)
    visited, full = _line(visiting) if len(visits.stream) == 1 else _box(visiting)
    if visits.tested is not None:
        over, possible = visiting.possible(visits.tested)
        visited = visited & evaluate(possible, over, facts).astype(np.bool_)
    visited, full = np.broadcast_to(visited, shape), np.broadcast_to(full, shape)
    return visited.astype(np.int8) + (visited & full)


def _line(visiting: Visiting) -> tuple[Array, Array]:
    """Where some range has a tile, and where one has it among its full ones."""
    (stream,) = visiting.visits.stream
    found = [_inside(visiting, stream, r) for r in visiting.ranges()]
    visited, full = found[0]
    for also_visited, also_full in found[1:]:
        visited, full = visited | also_visited, full | also_full
    return visited, full


def _box(visiting: Visiting) -> tuple[Array, Array]:
    """Where all the ranges have a tile, each along its own index."""
    visited: Array = np.True_
    full: Array = np.bool_(visiting.visits.share is not Share.ALL)
    for stream, found in visiting.box().items():
        here, here_full = _inside(visiting, stream, found)
        visited, full = visited & here, full & here_full
    return visited, full


def _inside(visiting: Visiting, stream: str, found: Range) -> tuple[Array, Array]:
    """Which tiles of a stream index lie in a range, and in its full part."""
    streams = visiting.visits.stream
    at = streams.index(stream)
    tile = np.arange(visiting.counts[stream]).reshape([-1 if k == at else 1 for k in range(len(streams))])

    def over_tiles(ends: Array) -> Array:
        return np.asarray(ends).reshape(*np.shape(ends), *(1 for _ in streams))

    visited = (tile >= over_tiles(found.first)) & (tile < over_tiles(found.end))
    full = (tile >= over_tiles(found.full_first)) & (tile < over_tiles(found.full_end))
    return visited, full
