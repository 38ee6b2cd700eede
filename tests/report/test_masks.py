"""Masks as data: pairs are what the reference says, tiles what the account counts, at the same sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import attn_dsl
from attn_dsl.account.tile_map import TileKind
from attn_dsl.errors import ArgumentError
from attn_dsl.language.load import load_file
from attn_dsl.report.masks import MaskMap, MaskRequest, mask_maps, tile_maps
from tests.examples.cases import EXAMPLES


def request(name: str, tensors: dict[str, torch.Tensor] | None = None, **sizes: int) -> MaskRequest:
    cascade = load_file(EXAMPLES / f"{name}.attn").cascade
    params = {p.name: p.default for p in cascade.params if p.default is not None}
    return MaskRequest(cascade, params, sizes, tensors or {}, (16, 16))


def places(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(rows)[:, None], np.arange(columns)[None, :]


def require_sound(mask: MaskMap) -> None:
    """Every live pair lies in a tile that is visited, every pair of a full tile is live."""
    (row,), (stream,) = mask.tiles.rows.values(), mask.tiles.streams.values()
    kinds = mask.tiles.kinds.repeat(row, 0).repeat(stream, 1)[: mask.live.shape[0], : mask.live.shape[1]]
    assert not (mask.live & (kinds == TileKind.EMPTY)).any()
    assert mask.live[kinds == TileKind.FULL].all()


def test_a_window_is_a_band() -> None:
    (mask,) = mask_maps(
        replace(request("masks/sink_window", i=100, j=100), params={"window": 20, "sinks": 4})
    )
    i, j = places(100, 100)
    assert np.array_equal(mask.live, (j <= i) & ((j < 4) | (i - j < 20)))
    require_sound(mask)
    assert mask.tiles.kinds.shape == (7, 7) and mask.tiles.exact


def test_data_comes_as_it_is_given() -> None:
    document = torch.tensor([[0, 0, 0, 1, 1, 2, 2, 2, 2, 3] * 4, [0] * 40], dtype=torch.int32).sort(-1).values
    first, second = mask_maps(request("masks/documents", {"document": document}))
    i, j = places(40, 40)
    same = document[0][:, None] == document[0][None, :]
    assert np.array_equal(first.live, (j <= i) & same.numpy())
    assert np.array_equal(second.live, j <= i)
    assert (first.tiles.at, second.tiles.at) == ({"b": 0}, {"b": 1})
    assert first.tiles.made_up == ()
    require_sound(first)
    require_sound(second)


def test_data_that_is_not_given_is_made_up_and_named() -> None:
    for mask in mask_maps(request("masks/documents", i=64)):
        assert mask.tiles.made_up == ("document",)
        assert 0 < mask.share < 0.5
        require_sound(mask)


@pytest.mark.parametrize(
    "name", ["masks/head_windows", "cache/lengths", "masks/global_window", "positions/forgetting"]
)
def test_tiles_are_sound_whatever_decides(name: str) -> None:
    for mask in mask_maps(request(name, i=96, j=96) if "for" not in name else request(name, i=96)):
        require_sound(mask)


def test_what_scores_decide_is_evaluated() -> None:
    """A condition on weights: pairs by the reference, tiles the most that may be visited."""
    masks = mask_maps(request("normalisers/entropy_of_weights", i=48, j=48))
    i, j = places(48, 48)
    assert all(np.array_equal(m.live, j <= i) for m in masks)


def test_an_image_has_what_a_pixel_sees() -> None:
    (mask,) = mask_maps(
        replace(request("multidim/neighbourhood_2d", x=12, y=12), params={"width": 12, "window": 5})
    )
    found = mask.window()
    assert found is not None
    live, place = found
    assert place == (6, 6)
    expected = np.zeros((12, 12), dtype=bool)
    expected[4:9, 4:9] = True
    assert np.array_equal(live, expected)


def test_the_counts_are_those_of_the_account() -> None:
    asked = request("masks/sliding_window", i=1000, j=1000)
    (tiles,) = tile_maps(asked)
    analysis = attn_dsl.compile(EXAMPLES / "masks/sliding_window.attn").analyze(
        i=1000, j=1000, tiles=(16, 16)
    )
    assert analysis.forward is not None
    (loop,) = analysis.forward.kernels[0].loops
    found = (tiles.count(TileKind.FULL), tiles.count(TileKind.PARTIAL), tiles.count(TileKind.EMPTY))
    assert found == (loop.tiles.full, loop.tiles.partial, loop.tiles.empty)


def test_too_much_is_refused_before_it_is_computed() -> None:
    with pytest.raises(ArgumentError, match="points .* are more than a picture shows"):
        mask_maps(request("basic/dense", i=100_000, j=100_000))
    with pytest.raises(ArgumentError, match="tiles are more than a picture shows"):
        tile_maps(request("basic/dense", i=100_000, j=100_000))
