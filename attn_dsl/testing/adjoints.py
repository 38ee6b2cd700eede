"""Random adjoints of a call's outputs, in any layout; some outputs may have none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from attn_dsl.testing.choices import Choices
from attn_dsl.testing.layouts import laid_out


def adjoints(outputs: tuple[Tensor, ...], choices: Choices) -> list[Tensor | None]:
    """None for an output that is not used; one at least is. Simplest: all there, contiguous."""
    generator = torch.Generator().manual_seed(7)
    found: list[Tensor | None] = []
    for left, output in zip(reversed(range(len(outputs))), outputs, strict=True):
        fill = partial(_normal, like=output, generator=generator)
        adjoint, _ = laid_out(output.shape, fill, choices)
        unused = choices.once_in(4) and (left > 0 or any(a is not None for a in found))
        found.append(None if unused else adjoint)
    return found


def _normal(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(tuple(shape), generator=generator).to(like.device, like.dtype)
