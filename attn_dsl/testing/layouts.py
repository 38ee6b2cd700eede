"""Tensors of a shape in every memory layout a caller may have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from math import prod

import torch
from torch import Tensor

from attn_dsl.testing.choices import Choices


class Layout(Enum):
    """How a tensor lies in memory."""

    CONTIGUOUS = "contiguous"
    TRANSPOSED = "transposed"
    SLICED = "sliced"
    STEPPED = "stepped"
    REPEATED = "repeated"
    OFFSET = "offset"
    OVERLAPPING = "overlapping"
    NEGATED = "a negated view"


_FREQUENT = (*Layout, Layout.CONTIGUOUS, Layout.TRANSPOSED, Layout.SLICED, Layout.CONTIGUOUS)
_OF_SCALARS = (Layout.CONTIGUOUS, Layout.OFFSET, Layout.NEGATED)


def laid_out(
    shape: Sequence[int], fill: Callable[[Sequence[int]], Tensor], choices: Choices
) -> tuple[Tensor, Layout]:
    """A tensor of the shape, made by ``fill``, in one of the layouts."""
    rank = len(shape)
    layout = choices.among(_FREQUENT if rank else _OF_SCALARS)
    match layout:
        case Layout.CONTIGUOUS:
            return fill(shape), layout
        case Layout.TRANSPOSED:
            order = choices.shuffled(range(rank))
            inverse = [order.index(axis) for axis in range(rank)]
            return fill([shape[axis] for axis in order]).permute(inverse), layout
        case Layout.SLICED:
            axis = choices.number(0, rank - 1)
            offset = choices.number(0, 3)
            wider = [n + 3 if a == axis else n for a, n in enumerate(shape)]
            return fill(wider).narrow(axis, offset, shape[axis]), layout
        case Layout.STEPPED:  # the innermost axis is not contiguous
            return fill([*shape[:-1], 2 * shape[-1]])[..., ::2], layout
        case Layout.REPEATED:  # one axis of stride 0
            axis = choices.number(0, rank - 1)
            one = [1 if a == axis else n for a, n in enumerate(shape)]
            return fill(one).expand(*shape), layout
        case Layout.OFFSET:  # its first element is aligned to nothing
            return fill([prod(shape) + 1])[1:].view(list(shape)), layout
        case Layout.OVERLAPPING:  # windows of one line, each a step further
            if prod(shape) == 0:
                return fill(shape), layout
            line = fill([sum(n - 1 for n in shape) + 1])
            return line.as_strided(list(shape), [1] * rank), layout
        case Layout.NEGATED:  # the sign is a bit of the view, as in z.conj().imag
            return negated(fill(shape)), layout


def negated(tensor: Tensor) -> Tensor:
    """The same numbers by a view that negates them; truths, which cannot be negated, as they are."""
    if tensor.dtype is torch.bool:
        return tensor
    return torch._neg_view(-tensor)  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]
