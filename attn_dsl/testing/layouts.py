"""Tensors of a shape in every memory layout a caller may have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from hypothesis import strategies as st
from torch import Tensor


class Layout(Enum):
    """How a tensor lies in memory."""

    CONTIGUOUS = "contiguous"
    TRANSPOSED = "transposed"
    SLICED = "sliced"
    STEPPED = "stepped"
    REPEATED = "repeated"


@st.composite
def laid_out(
    draw: st.DrawFn, shape: Sequence[int], fill: Callable[[Sequence[int]], Tensor], layouts: Sequence[Layout]
) -> tuple[Tensor, Layout]:
    """A tensor of the shape, made by ``fill``, in one of the layouts."""
    rank = len(shape)
    layout = draw(st.sampled_from(layouts)) if rank else Layout.CONTIGUOUS
    match layout:
        case Layout.CONTIGUOUS:
            return fill(shape), layout
        case Layout.TRANSPOSED:
            order = draw(st.permutations(range(rank)))
            inverse = [order.index(axis) for axis in range(rank)]
            return fill([shape[axis] for axis in order]).permute(inverse), layout
        case Layout.SLICED:
            axis = draw(st.integers(0, rank - 1))
            offset = draw(st.integers(0, 3))
            wider = [n + 3 if a == axis else n for a, n in enumerate(shape)]
            return fill(wider).narrow(axis, offset, shape[axis]), layout
        case Layout.STEPPED:  # the innermost axis is not contiguous
            return fill([*shape[:-1], 2 * shape[-1]])[..., ::2], layout
        case Layout.REPEATED:  # one axis of stride 0
            axis = draw(st.integers(0, rank - 1))
            one = [1 if a == axis else n for a, n in enumerate(shape)]
            return fill(one).expand(*shape), layout
