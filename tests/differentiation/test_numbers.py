"""The prelude's functions of numbers are torch's, with their gradients; logarithms of exponentials do not
underflow."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import attn_dsl

pytestmark = pytest.mark.usefixtures("plain_builds")

HALVES = [0.5, 1.5, -0.5, -1.5, 2.5, 0.49999997, -0.49999997, 8388609.0, 1e20, -inf, inf, nan, 0.0, 2.3, -2.7]
FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], list[float]]] = {
    "round(x[i])": (torch.round, HALVES),
    "sign(x[i])": (torch.sign, [0.0, -3.5, 2.0, -inf, inf, nan]),
    "logsigmoid(x[i])": (logsigmoid, [0.0, -800.0, 800.0, 1.0, -1.0, inf]),
    "log(sigmoid(x[i]))": (logsigmoid, [0.0, -800.0, 800.0, 1.0, -1.0, inf]),
    "log2(1 / sigmoid(x[i]))": (lambda x: -logsigmoid(x) / torch.log(x.new_tensor(2)), [0.0, -800.0, 800.0]),
    "logaddexp(x[i], 1.0)": (lambda x: torch.logaddexp(x, torch.ones_like(x)), [0.0, 1.0, -200.0, 900.0, -inf]),
}  # fmt: skip


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
@pytest.mark.parametrize("text", FUNCTIONS)
def test_values_and_gradients(text: str, target: str) -> None:
    function, values = FUNCTIONS[text]
    attention = attn_dsl.compile(f"attention f\ninput x[i]\nR[i] = {text}\noutput R[i]\n", target=target)
    x = torch.tensor(values, dtype=torch.float32, requires_grad=True)
    found, expected = attention(x), function(x)
    torch.testing.assert_close(found, expected, equal_nan=True)
    if found.requires_grad:
        gradients = [torch.autograd.grad(r.sum(), x)[0] for r in (found, expected)]
        torch.testing.assert_close(*gradients, equal_nan=True)


def test_equal_infinities() -> None:
    attention = attn_dsl.compile("attention f\ninput x[i], y[i]\nR[i] = logaddexp(x[i], y[i])\noutput R[i]\n")
    x = torch.tensor([inf, -inf, inf], dtype=torch.float32)
    y = torch.tensor([inf, -inf, -inf], dtype=torch.float32)
    torch.testing.assert_close(attention(x, y), torch.logaddexp(x, y))


def test_a_sign_of_integers_is_an_integer() -> None:
    attention = attn_dsl.compile(
        "attention f\ninput x[i], n[i]: i64\nR[i] = x[i]\nS[i] = sign(n[i])\noutput R[i], S[i]\n"
    )
    _, sign = attention(torch.zeros(3), torch.tensor([-7, 0, 2]))
    assert sign.tolist() == [-1, 0, 1] and not sign.is_floating_point()


LOG_SOFTMAX = """attention f
input x[i,j]
X[i,j] = x[i,j] where j <= i + 500
L[i,j] = log(softmax[j](X[i,j]))
output L[i,j]
"""


def test_the_logarithm_of_a_softmax() -> None:
    """At 512 keys whose weights underflow in f32."""
    attention = attn_dsl.compile(LOG_SOFTMAX)
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(6, 512, generator=generator) * 60).requires_grad_()
    unseen = torch.arange(512) > torch.arange(6)[:, None] + 500
    expected = x.double().masked_fill(unseen, -inf).log_softmax(-1).masked_fill(unseen, 0.0)
    weights = torch.randn(6, 512, generator=generator)
    found = attention(x)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-5)
    gradients = [torch.autograd.grad((r * weights).sum(), x)[0] for r in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)
