"""The functions of the prelude have the gradients of torch's own functions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import attn_dsl

pytestmark = pytest.mark.usefixtures("plain_builds")


def _with_sink(x: Tensor, sink: Tensor) -> Tensor:
    return torch.cat([x, sink.expand(x.shape[0], 1)], -1).softmax(-1)[:, :-1]


def _softcap(x: Tensor, y: Tensor) -> Tensor:
    return 3 * torch.tanh(x / 3)


# Of X[i,j] and a number y[i]: the text of the result, over i and j or over i alone, and torch's.
FUNCTIONS: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "softmax": ("R[i,j] = softmax[j](X[i,j]) * y[i]", lambda x, y: x.softmax(-1) * y),
    "softmin": ("R[i,j] = softmin[j](X[i,j]) * y[i]", lambda x, y: (-x).softmax(-1) * y),
    "softmax_sink": ("R[i,j] = softmax_sink[j](X[i,j], y[i])", _with_sink),
    "softmax1": ("R[i,j] = softmax1[j](X[i,j]) * y[i]", lambda x, y: _with_sink(x, torch.zeros_like(y)) * y),
    "logsumexp": ("R[i] = logsumexp[j](X[i,j]) * y[i]", lambda x, y: x.logsumexp(-1) * y[:, 0]),
    "z-loss": ("R[i] = logsumexp[j](X[i,j]) ** 2", lambda x, y: x.logsumexp(-1) ** 2),
    "l1_normalise": ("R[i,j] = l1_normalise[j](X[i,j]) * y[i]", lambda x, y: x / x.abs().sum(-1, True) * y),
    "softcap": ("R[i,j] = softcap(X[i,j], 3.0)", _softcap),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients(function: str) -> None:
    """By kernels, and by torch through the reference, at the values that first were wrong and at random
    ones."""
    line, formula = FUNCTIONS[function]
    axes = "i,j" if line.startswith("R[i,j]") else "i"
    attention = attn_dsl.compile(f"attention f\ninput X[i,j], y[i]\n{line}\noutput R[{axes}]\n")
    generator = torch.Generator().manual_seed(3)
    for shape in ((1, 3), (5, 7)):
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        x[0, :3] = torch.tensor([0.1, 0.5, -0.3])
        y = torch.randn(shape[0], generator=generator, dtype=torch.float64)
        weights = torch.randn(shape if axes == "i,j" else shape[:1], generator=generator, dtype=torch.float64)
        expected = _derived(lambda a, b: formula(a, b[:, None]), x, y, weights)
        for call in (attention, attention.reference):
            for mine, right in zip(_derived(call, x, y, weights), expected, strict=True):
                torch.testing.assert_close(mine, right, atol=1e-12, rtol=1e-10)


def _derived(
    call: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, weights: Tensor
) -> tuple[Tensor, ...]:
    """The value and the gradients."""
    leaves = [t.clone().requires_grad_() for t in (x, y)]
    value = call(*leaves)
    return value, *torch.autograd.grad(value, leaves, weights, allow_unused=True, materialize_grads=True)
