"""Executed operations are those that the generated CPU kernel counts itself, exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest

import attn_dsl
from attn_dsl.language.load import load_file
from tests.account.counted import accounted, counted, counting
from tests.examples.cases import CASES, EXAMPLES

__all__ = ["counting"]

# Each takes another way through the plans: one range, several, a box, an interval test, data, several streams
# and passes, a stream of pages; lengths that fill no tile.
SQUARE = {"i": 150, "j": 150}
CASES_COUNTED = {
    "basic/cross_causal": {"i": 70, "j": 150}, "masks/sliding_window": SQUARE, "masks/sink_window": SQUARE,
    "masks/tri_shape": SQUARE, "masks/documents": SQUARE, "masks/dilated_window": SQUARE,
    "masks/head_strides": SQUARE, "masks/head_windows": SQUARE, "masks/power": SQUARE,
    "multidim/neighbourhood_2d": {"x": 30, "u": 30}, "normalisers/landmark": {"i": 96, "c": 24},
    "normalisers/softplus_reweighted": SQUARE, "normalisers/entropy_of_weights": SQUARE,
    "cache/page_table": {"n": 60, "p": 30, "j": 120, "i": 70}, "cache/column_sums": SQUARE,
    "cache/two_bit_recent": {"i": 70, "n": 100}, "heads/latent": {"i": 70, "j": 150},
}  # fmt: skip


@pytest.mark.usefixtures("counting")
@pytest.mark.parametrize("name", CASES_COUNTED)
def test_the_kernel_counts_what_is_accounted_for(name: str) -> None:
    case = replace(CASES[name], sizes={**CASES[name].sizes, **CASES_COUNTED[name]})
    cascade = load_file(EXAMPLES / f"{name}.attn").cascade
    arguments = case.arguments(cascade, "f32")
    named = {n: v for n, v in case.all_sizes(cascade).items() if not n.startswith("_")}
    attention = attn_dsl.compile(EXAMPLES / f"{name}.attn", params=case.params)
    analysis = accounted(attention, arguments, named)
    assert analysis.forward is not None
    executed = analysis.forward.contractions.executed
    assert 2 * counted(attention, arguments) == executed
    assert 0 < analysis.forward.contractions.useful <= executed
    assert all(loop.exact for kernel in analysis.forward.kernels for loop in kernel.loops)
