"""Partial tensors: values, some of which do not exist; and the scope an expression is evaluated in.

Within a statement all indices stand in one order, its *space*. Every intermediate has one axis for each of
them, of extent 1 where it does not vary, so that torch's broadcasting aligns them:

    space (b, i, j):   Q[b,i] is (B, I, 1),   j is (1, 1, J),   j <= i is (1, I, J)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Partial:
    """Values and where they exist (None: everywhere). What ``value`` holds elsewhere is of no meaning."""

    value: Tensor
    present: Tensor | None = None

    def certainly(self) -> Tensor:
        """Where a predicate exists and holds."""
        value = truth(self.value)
        return value if self.present is None else value & self.present

    def filled(self, fill: float | bool) -> Tensor:
        """The values, ``fill`` where there is none."""
        if self.present is None:
            return self.value
        return torch.where(self.present, self.value, self.value.new_full((), fill))

    def expand(self, shape: Sequence[int]) -> Partial:
        """Values and existence repeated, without a copy, to one shape: the broadcast of theirs and this."""
        if self.present is None:
            return Partial(self.value.expand(torch.broadcast_shapes(self.value.shape, tuple(shape))))
        full = torch.broadcast_shapes(self.value.shape, self.present.shape, tuple(shape))
        return Partial(self.value.expand(full), self.present.expand(full))

    def within(self, condition: Tensor | None) -> Partial:
        """The same, existing only where the condition holds too."""
        return Partial(self.value, both(self.present, condition))


@dataclass(frozen=True, slots=True)
class Scope:
    """What names stand for. ``space``: the order of the axes; ``dtype``: that of reals."""

    params: Mapping[str, int | float | bool]
    sizes: Mapping[str, int]
    tensors: Mapping[str, Partial]
    space: tuple[str, ...]
    dtype: torch.dtype
    device: torch.device

    def over(self, space: tuple[str, ...]) -> Scope:
        """The same names over another space."""
        return replace(self, space=space)

    def with_axis(self, index: str, extent: int) -> Scope:
        """With one more index, the last axis."""
        return replace(self, space=(*self.space, index), sizes={**self.sizes, index: extent})

    def constant(self, value: float | bool) -> Tensor:
        """A number as a tensor that varies along no axis."""
        dtype = self.dtype if type(value) is float else torch.bool if type(value) is bool else torch.int64
        return torch.full((1,) * len(self.space), value, dtype=dtype, device=self.device)

    def counting(self, index: str) -> Tensor:
        """The values of an index along its axis."""
        shape = [1] * len(self.space)
        shape[self.space.index(index)] = self.sizes[index]
        return torch.arange(self.sizes[index], device=self.device).view(shape)

    def extents(self, indices: Sequence[str]) -> tuple[int, ...]:
        """The sizes of several indices."""
        return tuple(self.sizes[index] for index in indices)


def both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Where both conditions hold; None is the condition that always does."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def truth(value: Tensor) -> Tensor:
    """A number as a truth value."""
    return value if value.dtype == torch.bool else value != 0
