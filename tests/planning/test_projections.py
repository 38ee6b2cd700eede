"""An output projection keeps the features of values features, with a batch and without: one loop over the
keys."""

from __future__ import annotations

import pytest

from attn_dsl.language.load import load_text
from attn_dsl.planning import plan

TEXT = """attention projected
input Q[{b}h,i,d], K[{b}h,j,d], V[{b}h,j,e], W[h,e,c]
S[{b}h,i,j] += Q[{b}h,i,d] * K[{b}h,j,d]
P[{b}h,i,j]  = softmax[j](S[{b}h,i,j])
A[{b}h,i,e] += P[{b}h,i,j] * V[{b}h,j,e]
O[{b}i,c]   += A[{b}h,i,e] * W[h,e,c]
output O[{b}i,c]
"""
SIZES = {"b": 2, "h": 8, "i": 4096, "j": 4096, "d": 64, "e": 64, "c": 512}


@pytest.mark.parametrize("batch", ["", "b,"])
def test_one_loop_over_keys(batch: str) -> None:
    found = plan(load_text(TEXT.format(b=batch)).cascade, {}, (), SIZES)
    assert {"d", "e", "c"} <= {*found.whole}
    loops = [k for k in found.kernels if any("j" in found.flow.over(t) for t in k.targets)]
    assert [k.rows for k in loops] == [("i",)]
    assert {t for t in loops[0].targets if "j" in found.flow.over(t)} == {"P_m", "P_l", "A_sum"}


def test_a_number_for_each_key_is_no_feature() -> None:
    """Scores that come as an argument lie between tokens and tokens."""
    text = """attention scored
input S[i,j], length[j], V[j,e]
P[i,j]  = softmax[j](S[i,j] + length[j])
O[i,e] += P[i,j] * V[j,e]
output O[i,e]
"""
    assert plan(load_text(text).cascade, {}, (), SIZES).whole == ("e",)
