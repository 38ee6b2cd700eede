"""Ranges bounded by integers that are computed: from reals, from features, by an earlier pass over the same
stream."""

import pytest
import torch

import attn_dsl
from attn_dsl.analysis.iteration import plan_iteration
from attn_dsl.analysis.presence import guard
from attn_dsl.language.load import load_text

HEAD = "attention test\ninput Q[h,i,d], K[h,j,d], V[h,j,e], r[h], w[d]\nS[h,i,j] += Q[h,i,d] * K[h,j,d]\n"
TAIL = "P[h,i,j] = softmax[j](X[h,i,j])\nO[h,i,e] += P[h,i,j] * V[h,j,e]\noutput O[h,i,e]\n"
BODIES = {
    "a cast": "X[h,i,j] = S[h,i,j] where abs(i - j) <= i32(floor(r[h]))\n",
    "a tensor": "R[h] = i32(floor(r[h]))\nX[h,i,j] = S[h,i,j] where abs(i - j) <= R[h]\n",
    "a row's": "C[h,i] += Q[h,i,d] * w[d]\nR[h,i] = i32(12 * sigmoid(C[h,i]))\nX[h,i,j] = S[h,i,j] where abs(i - j) <= R[h,i]\n",
    "a key's": "C[h,j] += K[h,j,d] * w[d]\nR[h,j] = i32(12 * sigmoid(C[h,j]))\nX[h,i,j] = S[h,i,j] where abs(i - j) <= R[h,j]\n",
    "a pass": "C[h,i] max= abs(S[h,i,j])\nR[h,i] = i32(C[h,i]) + 2\nX[h,i,j] = S[h,i,j] where j < R[h,i] or j == i\n",
    "a sum of integers": "N[h,i] += i32(Q[h,i,d] > 0)\nX[h,i,j] = S[h,i,j] where j <= N[h,i]\n",
}
N, FEATURES = 40, 8


def _seen(kind: str, q: torch.Tensor, k: torch.Tensor, r: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    i, j = torch.arange(N)[:, None], torch.arange(N)
    match kind:
        case "a cast" | "a tensor":
            return (i - j).abs() <= r.floor()[:, None, None]
        case "a row's":
            return (i - j).abs() <= (12 * torch.sigmoid(q @ w)).int()[:, :, None]
        case "a key's":
            return (i - j).abs() <= (12 * torch.sigmoid(k @ w)).int()[:, None, :]
        case "a pass":
            return (j < (q @ k.mT).abs().amax(-1, keepdim=True).int() + 2) | (i == j)
        case _:
            return j <= (q > 0).sum(-1)[:, :, None]


@pytest.mark.parametrize("kind", BODIES)
def test_the_result_and_its_gradient(kind: str) -> None:
    generator = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(2, N, FEATURES, generator=generator, dtype=torch.float64) for _ in range(3))
    r, w = torch.tensor([2.7, 9.2]).double(), torch.randn(FEATURES, generator=generator, dtype=torch.float64)
    q, k, v = (x.requires_grad_() for x in (q, k, v))
    seen = _seen(kind, q.detach(), k.detach(), r, w)
    right = torch.softmax((q @ k.mT).masked_fill(~seen, -torch.inf), -1) @ v
    found = attn_dsl.compile(HEAD + BODIES[kind] + TAIL)(Q=q, K=k, V=v, r=r, w=w)
    torch.testing.assert_close(found, right)
    seed = torch.randn(right.shape, generator=generator, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(found, (q, k, v), seed), torch.autograd.grad(right, (q, k, v), seed), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", [k for k in BODIES if k != "a key's"])
def test_the_loop_is_bounded(kind: str) -> None:
    """What failed before: every tile was tested."""
    cascade = load_text(HEAD + BODIES[kind] + TAIL).cascade
    plan = plan_iteration(guard(cascade.definitions("X")[0], cascade), ("j",), {}, cascade)
    assert plan.closed_form, str(plan)
