"""One map for several values: the products of all heads make the scores, which each head's values are read
by."""

from __future__ import annotations

import pytest
import torch

import attn_dsl

pytestmark = pytest.mark.usefixtures("plain_builds")

TEXT = """attention shared_map
input Q[b,r,i,d], K[b,r,j,d], V[b,r,j,e]
S[b,i,j]   += Q[b,r,i,d] * K[b,r,j,d]
P[b,i,j]    = softmax[j](S[b,i,j] / sqrt(size(d) * size(r)))
O[b,r,i,e] += P[b,i,j] * V[b,r,j,e]
output O[b,r,i,e]
"""


@pytest.mark.parametrize("wanted", ["QKV", "Q", "K", "V"])
def test_gradients(wanted: str) -> None:
    """Of each input alone, too: its kernel's rows are positions."""
    attention = attn_dsl.compile(TEXT)
    generator = torch.Generator().manual_seed(1)
    given = {
        name: torch.randn(2, 3, 5 if name == "Q" else 37, 4, generator=generator, dtype=torch.float64)
        for name in "QKV"
    }
    leaves = {n: t.requires_grad_(n in wanted) for n, t in given.items()}
    scores = torch.einsum("brid,brjd->bij", leaves["Q"], leaves["K"]) / 12**0.5
    expected = torch.einsum("bij,brje->brie", scores.softmax(-1), leaves["V"])
    found = attention(**leaves)
    torch.testing.assert_close(found, expected)
    adjoint = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    asked = [leaves[n] for n in wanted]
    for mine, right in zip(
        torch.autograd.grad(found, asked, adjoint), torch.autograd.grad(expected, asked, adjoint), strict=True
    ):
        torch.testing.assert_close(mine, right)
