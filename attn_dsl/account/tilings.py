"""The shape of tiles that executes least, for any mask: counted, not tried."""

from __future__ import annotations

from dataclasses import replace

from attn_dsl.account.counting import TooManyPoints
from attn_dsl.account.model import Tiling
from attn_dsl.account.tiles import Rows, count_tiles
from attn_dsl.account.unknown import is_known, loosened
from attn_dsl.account.values import Facts
from attn_dsl.codegen.generation import LoweredKernel, Lowering
from attn_dsl.codegen.schedule.tiling import share_lanes
from attn_dsl.codegen.tiles import Loop, Share, Visits

LEAST, MOST = 16, 256  # lanes of a tile's side


def best_tilings(lowering: Lowering, facts: Facts) -> tuple[Tiling, ...]:
    """For each area the best shape of the main loop: the one with the most pairs in the first kernel that has
    any."""
    for kernel in lowering.kernels:
        loops = [i for i in kernel.text.body.items if isinstance(i, Loop)]
        if loops:
            visits = max((loop.visits for loop in loops), key=lambda v: _length(v, facts))
            return _best(kernel, visits, facts)
    return ()


def _length(visits: Visits, facts: Facts) -> int:
    result = 1
    for stream in visits.stream:
        result *= facts.sizes[stream]
    return result


def _best(kernel: LoweredKernel, visits: Visits, facts: Facts) -> tuple[Tiling, ...]:
    found: dict[int, Tiling] = {}
    sides = [1 << n for n in range(LEAST.bit_length() - 1, MOST.bit_length())]
    for row in sides:
        for stream in sides:
            tiling = _tiling(kernel, visits, facts, row, stream)
            if tiling is None:
                return ()
            other = found.get(row * stream)
            if other is None or tiling.speedup > other.speedup:
                found[row * stream] = tiling
    return tuple(found[area] for area in sorted(found))


def _tiling(kernel: LoweredKernel, visits: Visits, facts: Facts, row: int, stream: int) -> Tiling | None:
    """One shape. Programs that differ in nothing a bound asks for are counted once."""
    rows = Rows(kernel.plan.programs, share_lanes(kernel.plan.rows, row))
    lanes = dict(share_lanes(visits.stream, stream))
    seen = visits if is_known(visits, facts) else loosened(visits, facts)
    try:
        tiles = count_tiles(replace(seen, share=Share.ALL), rows, lanes, facts)
    except (TooManyPoints, KeyError):
        return None
    pairs = 1
    for index in (*rows.indices, *visits.stream):
        pairs *= facts.sizes[index]
    executed = tiles.visited * row * stream
    return Tiling(row, stream, tiles, pairs / executed if executed else float("inf"))
