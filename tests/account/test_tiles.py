"""Tiles: none that has a live element is left out, none is taken as full that is not; closed forms are
exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attn_dsl
from attn_dsl.account.tiles import Rows, count_tiles
from attn_dsl.analysis.iteration import plan_iteration
from attn_dsl.analysis.presence import guard
from attn_dsl.codegen.tiles import Share, Visits
from tests.account.test_live import made
from tests.analysis.predicates import SIZES, predicates
from tests.examples.cases import EXAMPLES


def live_tiles(expected: np.ndarray, sides: tuple[int, ...]) -> tuple[int, int]:
    """Tiles with some live element, and tiles with all of theirs."""
    some = every = 0
    starts = [range(0, n, side) for n, side in zip(expected.shape, sides, strict=True)]
    for at in np.ndindex(*(len(s) for s in starts)):
        cut = tuple(slice(s[k], s[k] + side) for s, k, side in zip(starts, at, sides, strict=True))
        some += bool(expected[cut].any())
        every += bool(expected[cut].all())
    return some, every


@settings(max_examples=150, deadline=None)
@given(predicates, st.integers(0, 2**32 - 1), st.sampled_from([(1, 1), (2, 1), (1, 4), (2, 2), (4, 4)]))
def test_classification_is_sound(predicate: str, seed: int, tile: tuple[int, int]) -> None:
    """Against every element. With tiles of one element, a plan in closed form visits the live ones and no
    other."""
    cascade, facts, world = made(predicate, seed)
    (statement,) = cascade.statements
    whole = guard(statement, cascade)
    expected = np.zeros(tuple(SIZES.values()), dtype=bool)
    for at in np.ndindex(expected.shape):
        expected[at] = world.element(whole, dict(zip(SIZES, at, strict=True)))
    plan = plan_iteration(whole, ("j",), facts.params, cascade)
    tested = None if plan.closed_form else whole
    mixed = plan.closed_form and len(plan.terms) > 0
    visits = Visits(("j",), plan, whole, tested, Share.REST if mixed else Share.ALL)
    found = count_tiles(visits, Rows(("u",), (("i", tile[0]),)), {"j": tile[1]}, facts)
    some, every = live_tiles(expected, (tile[0], tile[1], 1))
    assert some <= found.visited <= found.total
    assert found.full <= every
    if plan.closed_form and tile == (1, 1):
        assert found.visited == found.full == some


def test_the_textbook_counts_of_a_causal_mask() -> None:
    """n tiles a side: n on the diagonal, n(n-1)/2 below it."""
    analysis = attn_dsl.compile(EXAMPLES / "heads/grouped_query.attn").analyze(
        i=4096, j=4096, g=2, r=3, b=2, tiles=(64, 64)
    )
    assert analysis.forward is not None
    (loop,) = analysis.forward.kernels[0].loops
    n, heads = 64, 12
    assert (loop.tiles.full, loop.tiles.partial) == (heads * n * (n - 1) // 2, heads * n)
    assert loop.tiles.empty == heads * n * (n - 1) // 2
    assert loop.live.low == loop.live.high == heads * 4096 * 4097 // 2


def test_best_tiles_follow_the_mask() -> None:
    """Blocks of 64: no shape with a side beyond 64 wastes nothing, and 64 x 64 does."""
    attention = attn_dsl.compile(EXAMPLES / "masks/block_diagonal.attn", block=64)
    found = {t.row_tile * t.stream_tile: t for t in attention.analyze(i=1024, j=1024).best_tiles()}
    assert (found[4096].row_tile, found[4096].stream_tile) == (64, 64)
    assert found[4096].speedup == pytest.approx(16)
    assert found[65536].speedup == pytest.approx(4)
