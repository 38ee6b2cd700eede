"""The sizes of a page: every side that is tiled has the length, whatever it is made of."""

from __future__ import annotations

import pytest

from attn_dsl.cli.lowering import example_params
from attn_dsl.language.load import load_file
from attn_dsl.report.costs import account_at, over_lengths
from attn_dsl.report.masks import MaskRequest
from tests.examples.cases import EXAMPLES


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("basic/dense", {"i": 4096, "j": 4096, "b": 1}),
        ("multidim/neighbourhood_2d", {"x": 128, "y": 32, "u": 128, "v": 32}),
        ("multidim/neighbourhood_video", {"t": 16, "x": 16, "y": 16}),
        ("cache/page_table", {"p": 256, "s": 16, "j": 4096, "n": 256}),
    ],
)
def test_sides_have_the_length(name: str, sizes: dict[str, int]) -> None:
    cascade = load_file(EXAMPLES / f"{name}.attn").cascade
    found = account_at(MaskRequest(cascade, example_params(cascade), {}, {})).analysis.sizes
    assert sizes.items() <= found.items()


def test_sizes_that_are_given_stay_and_data_is_in_proportion() -> None:
    cascade = load_file(EXAMPLES / "cache/lengths.attn").cascade
    costs = over_lengths(MaskRequest(cascade, {}, {"i": 64, "b": 2}, {}), (1024, 4096))
    shares: list[float] = []
    for costed in costs:
        assert costed.made_up == ("length",)
        assert costed.analysis.sizes["i"] == 64 and costed.analysis.forward is not None
        (loop,) = costed.analysis.forward.kernels[0].loops
        shares.append(loop.live.high / loop.live.total)
    assert shares[0] == pytest.approx(shares[1], abs=0.01)
