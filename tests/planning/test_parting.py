"""Which reductions are taken in parts: where what is kept leaves too little to share out, by the classes of
extents."""

from __future__ import annotations

import pytest

from attn_dsl.language.load import load_text
from attn_dsl.planning import plan

SINK = """attention sink
input G[b,h,i,e], O[b,h,i,e], sink[h]
T[b,h,i] += G[b,h,i,e] * O[b,h,i,e]
D[h] += T[b,h,i] * exp(sink[h])
output D[h]
"""
STATISTIC = """attention statistic
input X[b,h,i]
D[h] += X[b,h,i] * X[b,h,i]
output D[h]
"""


def parts(text: str, **sizes: int) -> list[str]:
    found = plan(load_text(text).cascade, {}, (), sizes)
    return ["".join(found.flow.dims(t)) for t in found.cascade.parted]


@pytest.mark.parametrize("batch", [1, 3])
def test_heads_are_few(batch: int) -> None:
    """A part lies as the inputs do, rows innermost, and is combined at once."""
    assert parts(SINK, b=batch, h=8, i=4096, e=64) == ["bhi"]


def test_many_of_what_is_kept_share_themselves_out() -> None:
    assert parts(SINK, b=2, h=4096, i=4096, e=64) == []


def test_a_part_is_less_than_what_it_is_made_of() -> None:
    """A copy of the input would be no part of a sum."""
    assert parts(STATISTIC, b=2, h=8, i=4096) == ["bh"]


def test_long_batches_are_combined_in_parts_too() -> None:
    assert parts(SINK, b=4096, h=8, i=4096, e=64) == ["bhi", "bh"]


PAIRS = """attention pairs
input X[b,x,d], Y[b,u,v,d]
D[x,d] += X[b,x,d] * Y[b,u,v,d]
output D[x,d]
"""


def test_no_part_is_of_pairs() -> None:
    """No input has both x and u."""
    assert parts(PAIRS, b=2, x=8, u=64, v=64, d=4) == ["bxd"]
