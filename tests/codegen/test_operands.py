"""Tiles are as large as the operands of a kernel's own products allow, whatever else it reads."""

from __future__ import annotations

from attn_dsl.cli.lowering import example_lowering
from attn_dsl.language.load import load_text

ATTENTION = """attention gated
input Q[i,d]{q}, K[j,d]{k}, V[j,e], G[j]{g}
S[i,j] += Q[i,d] * K[j,d]
T[i,j] = S[i,j] + G[j]
P[i,j] = softmax[j](T[i,j])
O[i,e] += P[i,j] * V[j,e]
output O[i,e]
"""


def keys_of_a_tile(**dtypes: str) -> int:
    cascade = load_text(ATTENTION.format(**{"q": "", "k": "", "g": "", **dtypes})).cascade
    lowering = example_lowering(cascade, None, "bf16", {"d": 128, "e": 128}, "cuda:90", ())
    return lowering.kernels[0].tiles.streams["j"]


def test_a_real_beside_the_products_leaves_the_tile_as_it_is() -> None:
    assert keys_of_a_tile(g=": f32") == keys_of_a_tile()
    assert keys_of_a_tile(g=": f16") == keys_of_a_tile()


def test_an_operand_of_a_product_does_not() -> None:
    assert keys_of_a_tile(q=": f32", k=": f32") < keys_of_a_tile()
