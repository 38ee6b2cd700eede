"""One name for the taps of two convolutions, of which one reads what the other gives: against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import attn_dsl
from attn_dsl.language.load import load_text
from attn_dsl.planning import plan

pytestmark = pytest.mark.usefixtures("plain_builds")

TEXT = """attention convolved_twice
input Q[i,d], K[j,d], V[j,e], keys[t], scores[t]
index t < 3
C[j,d]  += keys[t] * K[j - t,d]
S[i,j]  += Q[i,d] * C[j,d]
Z[i,j]  += scores[t] * S[i,j - t]
P[i,j]   = softmax[j](Z[i,j])
O[i,e]  += P[i,j] * V[j,e]
output O[i,e]
"""
WINDOWED = """attention moving_norms
input X[i,d], weight[t], V[i,d]
index t < 4
N[i]    += X[i,d] * X[i,d] * weight[t]
M[i]    += N[i - t] * weight[t]
O[i,d]   = V[i,d] / (1 + M[i])
output O[i,d]
"""


def shifted(x: Tensor, taps: Tensor, dim: int) -> Tensor:
    """The sum over t of taps[t] * x[... - t], nothing before the first."""
    length = x.shape[dim]
    parts = []
    for t in range(min(len(taps), length)):
        kept = x.narrow(dim, 0, length - t)
        parts.append(taps[t] * torch.cat([torch.zeros_like(x.narrow(dim, 0, t)), kept], dim))
    return torch.stack(parts).sum(0)


def twice(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, scores: Tensor) -> Tensor:
    return shifted(q @ shifted(k, keys, 0).T, scores, 1).softmax(-1) @ v


def norms(x: Tensor, weight: Tensor, v: Tensor) -> Tensor:
    n = x.square().sum(-1) * weight.sum()
    return v / (1 + shifted(n, weight, 0)[:, None])


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
@pytest.mark.parametrize("text", [TEXT, WINDOWED], ids=["keys and scores", "norms"])
@pytest.mark.parametrize("length", [1, 19])
def test_values_and_gradients(text: str, target: str, length: int) -> None:
    generator = torch.Generator().manual_seed(0)
    dtype = torch.float64 if target == "cpu" else torch.float32
    shapes = (
        [(5, 3), (length, 3), (length, 4), (3,), (3,)] if text is TEXT else [(length, 3), (4,), (length, 3)]
    )
    leaves = [torch.rand(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]
    formula = twice if text is TEXT else norms
    expected, found = formula(*leaves), attn_dsl.compile(text, target=target)(*leaves)
    tolerance = 1e-9 if target == "cpu" else 1e-4
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    adjoint = torch.rand(expected.shape, generator=generator, dtype=dtype)
    mine = torch.autograd.grad(found, leaves, adjoint)
    for own, right in zip(mine, torch.autograd.grad(expected, leaves, adjoint), strict=True):
        torch.testing.assert_close(own, right, rtol=tolerance, atol=tolerance)


def test_only_what_is_captured_has_an_index_of_its_own() -> None:
    sizes = {"i": 64, "j": 64, "d": 16, "e": 16}
    found = plan(load_text(TEXT).cascade, {}, (), sizes)
    assert [i.name for i in found.cascade.indices if i.name.startswith("t")] == ["t", "t_1"]
    assert "t_1" not in found.whole and "t" in found.whole
