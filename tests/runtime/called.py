"""Small calls of mechanisms, for the tests of what torch does with operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import attn_dsl
from tests.examples.cases import CASES, EXAMPLES


def example(name: str, dtype: str = "f64") -> tuple[attn_dsl.Attention, list[Tensor]]:
    """An attention and arguments, which want no gradients."""
    attention = attn_dsl.compile(EXAMPLES / f"{name}.attn", params=CASES[name].params)
    return attention, list(CASES[name].arguments(attention.cascade, dtype).values())


def reals(arguments: Sequence[Tensor]) -> tuple[int, ...]:
    """The positions of floating arguments."""
    return tuple(at for at, t in enumerate(arguments) if t.is_floating_point())


def leaves(arguments: Sequence[Tensor]) -> list[Tensor]:
    """The arguments anew, the floating ones with gradients."""
    return [t.detach().clone().requires_grad_(t.is_floating_point()) for t in arguments]


def loss(call: Callable[..., Any]) -> Callable[..., Tensor]:
    """A number that depends on all floating results."""

    def run(*arguments: Tensor) -> Tensor:
        results = call(*arguments)
        results = results if isinstance(results, tuple) else (results,)
        return torch.stack([r.sin().sum().double() for r in results if r.is_floating_point()]).sum()

    return run


def gradients(call: Callable[..., Any], arguments: Sequence[Tensor]) -> list[Any]:
    """The results, then the gradients of the floating arguments."""
    given = leaves(arguments)
    found = loss(call)(*given)
    found.backward()
    return [found.detach(), *(given[at].grad for at in reals(given))]


def assert_agree(found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float = 2e-6) -> None:
    """Equal, but for the rounding of the results that are declared f32."""
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)
