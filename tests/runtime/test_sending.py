"""Gradients that are sent to computed places, of any lengths, against plain torch."""

from __future__ import annotations

import pytest
import torch

import attn_dsl

GATHERED = """attention gathered
input order[b,i]: i32, Q[b,i,d], K[b,j,d], V[b,j,e]
S[b,i,j] += Q[b,order[b,i],d] * K[b,j,d]
P[b,i,j] = softmax[j](default(S[b,i,j], 0))
O[b,i,e] += P[b,i,j] * V[b,j,e]
output O[b,i,e]
"""


@pytest.mark.parametrize("batch", [0, 1, 2])
@pytest.mark.parametrize("rows", [0, 1, 7])
@pytest.mark.parametrize("features", [0, 1, 3])
def test_rows_that_are_gathered(batch: int, rows: int, features: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).requires_grad_()

    q, k, v = drawn(batch, rows, features), drawn(batch, 5, features), drawn(batch, 5, 4)
    order = torch.randint(max(rows, 1), (batch, rows), generator=generator, dtype=torch.int32)
    gathered = torch.gather(q, 1, order.long()[..., None].expand(batch, rows, features))
    expected = (gathered @ k.transpose(1, 2)).softmax(-1) @ v
    got = attn_dsl.compile(GATHERED)(order, q, k, v)
    torch.testing.assert_close(got, expected)
    weights = torch.randn(expected.shape, generator=generator)
    for ours, theirs in zip(
        torch.autograd.grad(got, [q, k, v], weights),
        torch.autograd.grad(expected, [q, k, v], weights),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
