"""Tiles are as large as the operands of a kernel's own products allow, whatever else it reads."""

from __future__ import annotations

import re

import attn_dsl

ATTENTION = """attention gated
input Q[i,d]{q}, K[j,d]{k}, V[j,e], G[j]{g}
S[i,j] += Q[i,d] * K[j,d]
T[i,j] = S[i,j] + G[j]
P[i,j] = softmax[j](T[i,j])
O[i,e] += P[i,j] * V[j,e]
output O[i,e]
"""


def keys_of_a_tile(**dtypes: str) -> int:
    attention = attn_dsl.compile(ATTENTION.format(**{"q": "", "k": "", "g": "", **dtypes}))
    found = re.search(r"first_j = .* // (\d+)\)", attention.source("triton", "bf16", d=128, e=128))
    assert found is not None
    return int(found[1])


def test_a_real_beside_the_products_leaves_the_tile_as_it_is() -> None:
    assert keys_of_a_tile(g=": f32") == keys_of_a_tile()
    assert keys_of_a_tile(g=": f16") == keys_of_a_tile()


def test_an_operand_of_a_product_does_not() -> None:
    assert keys_of_a_tile(q=": f32", k=": f32") < keys_of_a_tile()
