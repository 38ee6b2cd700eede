"""Results that keep no index, or features alone: losses, statistics of everything, against plain torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import attn_dsl

pytestmark = pytest.mark.usefixtures("plain_builds")

Leaves = tuple[Tensor, ...]
EXTENTS = {"b": 2, "h": 3, "i": 21, "j": 19, "d": 5, "e": 4}
SCORES = "input Q[b,h,i,d], K[b,h,j,d]\nS[b,h,i,j] += Q[b,h,i,d] * K[b,h,j,d]\n"


def z_loss(q: Tensor, k: Tensor) -> Tensor:
    scores = torch.einsum("bhid,bhjd->bhij", q, k)
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -torch.inf).logsumexp(-1).square().mean()


def mean_square(q: Tensor, k: Tensor) -> Tensor:
    return torch.einsum("bhid,bhjd->bhij", q, k).square().mean()


# The text, the layouts of the inputs, the formula.
LOSSES: dict[str, tuple[str, str, Callable[..., Tensor]]] = {
    "sum of squares": ("input X[b,i,d]\nL += X[b,i,d] * X[b,i,d]\noutput L", "bid", lambda x: x.square().sum()),
    "mean": ("input X[i]\nL mean= X[i]\noutput L", "i", lambda x: x.mean()),
    "z-loss": (
        SCORES + """m[b,h,i] max= S[b,h,i,j] where j <= i
        l[b,h,i] += exp(S[b,h,i,j] - detach(m[b,h,i])) where j <= i
        L mean= (detach(m[b,h,i]) + log(l[b,h,i])) ** 2
        output L""",
        "bhid bhjd",
        z_loss,
    ),
    "mean squared score": (SCORES + "L mean= S[b,h,i,j] * S[b,h,i,j]\noutput L", "bhid bhjd", mean_square),
    "columns": ("input X[b,i,d]\nL[d] mean= X[b,i,d] ** 2\noutput L[d]", "bid", lambda x: x.square().mean((0, 1))),
    "a whole softmax": (
        "input X[b,i]\nm max= X[b,i]\nl += exp(X[b,i] - detach(m))\nL = detach(m) + log(l)\noutput L",
        "bi",
        lambda x: x.logsumexp((0, 1)),
    ),
    "a product": (
        "input K[j,d], V[j,e]\nS[d,e] += K[j,d] * V[j,e]\nL += S[d,e] ** 2\noutput L",
        "jd je",
        lambda k, v: (k.T @ v).square().sum(),
    ),
    "centred": (
        "input X[b,i,d]\nm mean= X[b,i,d]\nL[b,i,d] = (X[b,i,d] - m) ** 2\noutput L[b,i,d]",
        "bid",
        lambda x: (x - x.mean()).square(),
    ),
    "one temperature": (
        "input X[b,i,j], t\nm[b,i] max= X[b,i,j]\nL[b,i] += exp((X[b,i,j] - detach(m[b,i])) * t)\noutput L[b,i]",
        "bij ",
        lambda x, t: ((x - x.amax(-1, keepdim=True).detach()) * t).exp().sum(-1),
    ),
}  # fmt: skip


def made(name: str, target: str = "cpu") -> tuple[attn_dsl.Attention, Leaves, Callable[..., Tensor]]:
    """An attention, its arguments and its formula; Triton's interpreter takes f32."""
    text, layouts, formula = LOSSES[name]
    generator = torch.Generator().manual_seed(3)
    dtype = torch.float64 if target == "cpu" else torch.float32
    shapes = [[EXTENTS[i] for i in layout] for layout in layouts.split(" ")]
    leaves = tuple(torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes)
    return attn_dsl.compile(f"attention loss\n{text}\n", target=target), leaves, formula


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients(name: str, target: str) -> None:
    attention, leaves, formula = made(name, target)
    tolerance = 1e-9 if target == "cpu" else 1e-4
    expected = formula(*leaves)
    found = attention(*leaves)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    adjoint = torch.randn_like(expected)
    mine = torch.autograd.grad(found, leaves, adjoint)
    for own, right in zip(mine, torch.autograd.grad(expected, leaves, adjoint), strict=True):
        torch.testing.assert_close(own, right, rtol=tolerance, atol=tolerance)
    again = torch.autograd.grad(attention(*leaves), leaves, adjoint)
    assert all(torch.equal(a, b) for a, b in zip(mine, again, strict=True))


@pytest.mark.parametrize(
    "name", ["sum of squares", "z-loss", "mean squared score", "a whole softmax", "columns"]
)
def test_second_derivatives(name: str) -> None:
    attention, leaves, formula = made(name)

    def second(function: Callable[..., Tensor]) -> Leaves:
        torch.manual_seed(0)
        first = torch.autograd.grad(function(*leaves).square().sum(), leaves, create_graph=True)
        along = sum((g * torch.randn(g.shape, dtype=g.dtype)).sum() for g in first)
        assert isinstance(along, Tensor)
        return torch.autograd.grad(along, leaves)

    for own, right in zip(second(attention), second(formula), strict=True):
        torch.testing.assert_close(own, right, rtol=1e-8, atol=1e-8)


REDUCTIONS: list[tuple[str, Callable[[Tensor], Tensor]]] = [
    ("L min= i where X[b,i] > 1", lambda x: (x > 1).any(0).nonzero()[0, 0]),
    ("L max= X[b,i] where X[b,i] < 0.5", lambda x: x[x < 0.5].max()),
    ("L any= X[b,i] > 9", lambda x: (x > 9).any()),
    ("L all= X[b,i] > -9 where i > 2", lambda x: (x[:, 3:] > -9).all()),
    ("L += X[b,i] > 0", lambda x: (x > 0).sum()),
    ("L *= X[b,i]", lambda x: x.prod()),
    ("L += X[b,i] where i < 0", lambda x: x.new_zeros(())),
    ("L max= X[b,i] where i < 0", lambda x: x.new_zeros(())),
]


@pytest.mark.parametrize(("text", "expected"), REDUCTIONS)
@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_every_reduction(text: str, expected: Callable[[Tensor], Tensor], target: str) -> None:
    attention = attn_dsl.compile(f"attention all\ninput X[b,i]\n{text}\noutput L\n", target=target)
    x = torch.randn(3, 23, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attention(x), expected(x))
