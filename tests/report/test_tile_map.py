"""The kind of every tile: sums are what the account counts, empty and full ones are so element by element."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_dsl.account.tile_map import TileKind, map_tiles
from attn_dsl.account.tiles import Rows, count_tiles
from attn_dsl.analysis.iteration import plan_iteration
from attn_dsl.analysis.presence import guard
from attn_dsl.codegen.tiles import Share, Visits
from tests.account.test_live import made
from tests.analysis.predicates import SIZES, predicates


@settings(max_examples=120, deadline=None)
@given(predicates, st.integers(0, 2**32 - 1), st.sampled_from([(1, 1), (2, 1), (1, 4), (2, 2), (4, 4)]))
def test_every_tile_is_as_it_is_counted_and_sound(predicate: str, seed: int, tile: tuple[int, int]) -> None:
    cascade, facts, world = made(predicate, seed)
    (statement,) = cascade.statements
    whole = guard(statement, cascade)
    live = np.zeros(tuple(SIZES.values()), dtype=bool)
    for at in np.ndindex(live.shape):
        live[at] = world.element(whole, dict(zip(SIZES, at, strict=True)))
    live = np.moveaxis(live, tuple(map(list(SIZES).index, ("u", "i", "j"))), (0, 1, 2))
    plan = plan_iteration(whole, ("j",), facts.params, cascade)
    tested = None if plan.closed_form else whole
    share = Share.REST if plan.closed_form and plan.terms else Share.ALL
    visits, rows = Visits(("j",), plan, whole, tested, share), Rows(("u",), (("i", tile[0]),))
    kinds = map_tiles(visits, rows, {"j": tile[1]}, facts)
    counted = count_tiles(visits, rows, {"j": tile[1]}, facts)
    assert (counted.total, counted.visited) == (kinds.size, int((kinds != TileKind.EMPTY).sum()))
    assert counted.full == int((kinds == TileKind.FULL).sum())
    for u, i, j in np.ndindex(kinds.shape):
        inside = live[u, i * tile[0] : (i + 1) * tile[0], j * tile[1] : (j + 1) * tile[1]]
        assert inside.any() <= (kinds[u, i, j] != TileKind.EMPTY)
        assert inside.all() or kinds[u, i, j] != TileKind.FULL
