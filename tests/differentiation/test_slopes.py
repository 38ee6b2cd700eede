"""The derivatives of operators where they have kinks, infinities or NaN are torch's own."""

from __future__ import annotations

from collections.abc import Callable
from math import nan

import pytest
import torch
from torch import Tensor
from torch.func import jvp  # pyright: ignore[reportPrivateImportUsage]

import attn_dsl

pytestmark = pytest.mark.usefixtures("plain_builds")

Values = tuple[list[float], ...]
# What the language says of X, Y, Z; torch's function of as many tensors; where it is asked.
OPERATORS: dict[str, tuple[Callable[..., Tensor], Values]] = {
    "relu(X[i])": (torch.relu, ([nan, 1, -1, 0],)),
    "abs(X[i])": (torch.abs, ([1, -1, 0],)),
    "max(X[i], Y[i])": (torch.maximum, ([nan, 1, nan, 2, 2], [1, nan, nan, 2, 1])),
    "min(X[i], Y[i])": (torch.minimum, ([nan, 1, nan, 2, 2], [1, nan, nan, 2, 1])),
    "clamp(X[i], 0, 1)": (lambda x: x.clamp(0, 1), ([nan, 0, 1, 0.5, 5, -1],)),
    "clamp(X[i], Y[i], Z[i])": (
        torch.clamp,
        ([nan, 0, 5, 1, -1, 0.5, 0.5, 0.5], [-1, 0, 0, 1, 0, nan, 0, 2], [1, 1, 1, 1, 1, 1, nan, 1]),
    ),
    "X[i] ** Y[i]": (torch.pow, ([0, 0, 0, 2, 0, -2], [0, 2, -1, 0, 1, 2])),
    "X[i] ** 0": (lambda x: x**0, ([0, nan, 1],)),
    "X[i] ** 0.5": (lambda x: x**0.5, ([0, nan, 1],)),
    "X[i] % Y[i]": (torch.remainder, ([5, -5, 5.5, 0.6], [3, 3, -2, 0.2])),
    "log(X[i])": (torch.log, ([0, 1, 2],)),
}


def compiled(expression: str, count: int) -> attn_dsl.Attention:
    inputs = ", ".join(f"{n}[i]" for n in "XYZ"[:count])
    return attn_dsl.compile(f"attention slope\ninput {inputs}\nR[i] = {expression}\noutput R[i]\n")


def slopes(call: Callable[..., Tensor], values: Values) -> list[Tensor]:
    leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]
    return list(torch.autograd.grad(call(*leaves).sum(), leaves))


@pytest.mark.parametrize("expression", OPERATORS)
def test_slopes(expression: str) -> None:
    function, values = OPERATORS[expression]
    attention = compiled(expression, len(values))
    expected = slopes(function, values)
    for call in (attention, attention.reference):
        for mine, right in zip(slopes(call, values), expected, strict=True):
            torch.testing.assert_close(mine, right, equal_nan=True)


@pytest.mark.parametrize("expression", ["relu(X[i])", "max(X[i], Y[i])", "clamp(X[i], 0, 1)", "X[i] ** Y[i]"])
def test_tangents(expression: str) -> None:
    """By the same slopes, along one argument after the other: in torch, a NaN times a tangent of 0 would be
    NaN."""
    function, values = OPERATORS[expression]
    attention = compiled(expression, len(values))
    given = [torch.tensor(v, dtype=torch.float64) for v in values]
    for at in range(len(given)):

        def along(call: Callable[..., Tensor], at: int = at) -> Tensor:
            def of(x: Tensor) -> Tensor:
                return call(*given[:at], x, *given[at + 1 :])

            return jvp(of, (given[at],), (torch.ones_like(given[at]),))[1]

        torch.testing.assert_close(along(attention), slopes(function, values)[at], equal_nan=True)


OUTPUTS = "attention two\ninput X[i]\nA[i] = exp(X[i])\nB[i] = log(X[i])\nC[i] = X[i] * X[i]\noutput A[i], B[i], C[i]\n"


@pytest.mark.parametrize("asked", [(0,), (2,), (0, 2), (1,), (0, 1, 2)])
def test_an_output_that_is_not_asked_sends_nothing(asked: tuple[int, ...]) -> None:
    """Where another's derivative is infinite or NaN; first and second derivatives."""
    attention = attn_dsl.compile(OUTPUTS)
    x = torch.tensor([-0.7, 0.0, 1.0], dtype=torch.float64, requires_grad=True)

    def twice(outputs: tuple[Tensor, ...]) -> list[Tensor]:
        total = sum((outputs[at].sum() for at in asked), torch.zeros(()))
        (first,) = torch.autograd.grad(total, x, create_graph=True)
        return [first, *torch.autograd.grad(first.sum(), x)]

    for mine, right in zip(twice(attention(x)), twice((x.exp(), x.log(), x * x)), strict=True):
        torch.testing.assert_close(mine, right, equal_nan=True)
