"""Reductions that follow an extremum, where whole tiles of its elements are infinite: against plain torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import attn_dsl

Formula = Callable[[Tensor, Tensor, Tensor], Tensor]


def _max(x: Tensor) -> Tensor:
    return x.amax(1, keepdim=True)


# Statements that give O[i,e] from A[i,j], B[i,j], V[j,e], and what they say.
FOLDS: dict[str, tuple[str, Formula]] = {
    "softmax": (
        "m[i] max= A[i,j]; O[i,e] += exp(A[i,j] - m[i]) * V[j,e]",
        lambda a, b, v: (a - _max(a)).exp() @ v,
    ),
    "plus": (
        "m[i] max= A[i,j]; O[i,e] += exp(A[i,j] + m[i]) * V[j,e]",
        lambda a, b, v: (a + _max(a)).exp() @ v,
    ),
    "of another": (
        "m[i] max= A[i,j]; O[i,e] += exp(B[i,j] + m[i]) * V[j,e]",
        lambda a, b, v: (b + _max(a)).exp() @ v,
    ),
    "constant added": (
        "m[i] max= A[i,j]; O[i,e] += (exp(A[i,j] - m[i]) + B[i,j] * exp(m[i])) * V[j,e]",
        lambda a, b, v: ((a - _max(a)).exp() + b * _max(a).exp()) @ v,
    ),
    "part of the maximum": (
        "m[i] max= A[i,j] + B[i,j]; O[i,e] += exp(A[i,j] - m[i]) * V[j,e]",
        lambda a, b, v: (a - _max(a + b)).exp() @ v,
    ),
    "minimum": (
        "m[i] min= -A[i,j]; O[i,e] += exp(m[i] + A[i,j]) * V[j,e]",
        lambda a, b, v: (a - _max(a)).exp() @ v,
    ),
    "two extrema": (
        "m[i] max= A[i,j]; n[i] max= B[i,j]; O[i,e] += exp(A[i,j] - m[i]) * exp(B[i,j] - n[i]) * V[j,e]",
        lambda a, b, v: ((a - _max(a)).exp() * (b - _max(b)).exp()) @ v,
    ),
    "maximum of a ratio": (
        "m[i] max= A[i,j]; O[i,e] max= exp(A[i,j] - m[i]) * abs(V[j,e])",
        lambda a, b, v: ((a - _max(a)).exp()[:, :, None] * v.abs()).amax(1),
    ),
    "maximum of a difference": (
        "m[i] max= A[i,j]; O[i,e] max= B[i,j] - m[i] + V[j,e]",
        lambda a, b, v: ((b - _max(a))[:, :, None] + v).amax(1),
    ),
    "sum that cancels": (
        "l[i] += B[i,j]; O[i,e] += exp(A[i,j] - l[i]) * V[j,e]",
        lambda a, b, v: (a - b.sum(1, keepdim=True)).exp() @ v,
    ),
}


def _arguments() -> tuple[Tensor, Tensor, Tensor]:
    """Rows whose first tiles, last tiles, or all tiles are -inf, and one of ordinary numbers; the sums of the
    first keys of B are exactly 0."""
    torch.manual_seed(0)
    a, b, v = torch.randn(4, 300), torch.randn(4, 150).mul(0.1), torch.randn(300, 8)
    a[0, :250] = a[1] = a[2, 100:] = -torch.inf
    return a, torch.stack([b, -b], 2).reshape(4, 300), v


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
@pytest.mark.parametrize("name", FOLDS)
def test_a_fold(name: str, target: str, plain_builds: None) -> None:
    statements, formula = FOLDS[name]
    text = f"attention f\ninput A[i, j], B[i, j], V[j, e]\n{statements}\noutput O[i, e]\n"
    arguments = _arguments()
    expected = formula(*(x.double() for x in arguments)).float()
    attention = attn_dsl.compile(text, target=target)
    torch.testing.assert_close(attention(*arguments), expected, rtol=2e-5, atol=1e-5, equal_nan=True)
    torch.testing.assert_close(
        attention.reference(*arguments).float(), expected, rtol=1e-6, atol=1e-6, equal_nan=True
    )
