"""Reading a tensor at arbitrary integer expressions; out of bounds there is nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from attn_dsl.ir.expr import Expr, IndexVar
from attn_dsl.reference.partial import Partial, Scope, both


def read(tensor: str, indices: Sequence[Expr], places: Sequence[Partial], scope: Scope) -> Partial:
    """``tensor[indices]`` over the space; ``places`` are the values of the indices."""
    source = scope.tensors[tensor]
    names = _plain(indices, source.value.shape, scope)
    if names is not None:
        return Partial(
            _aligned(source.value, names, scope),
            None if source.present is None else _aligned(source.present, names, scope),
        )
    return _gather(source, places, scope)


def _plain(indices: Sequence[Expr], shape: Sequence[int], scope: Scope) -> list[str] | None:
    """The names of the indices, if they are distinct bare indices that stay within bounds."""
    names = [e.name for e in indices if isinstance(e, IndexVar)]
    if len(names) < len(indices) or len(set(names)) < len(names):
        return None
    inside = all(scope.sizes[n] <= extent for n, extent in zip(names, shape, strict=True))
    return names if inside else None


def _aligned(source: Tensor, names: Sequence[str], scope: Scope) -> Tensor:
    """A view with the axes of the space."""
    for axis, name in enumerate(names):
        source = source.narrow(axis, 0, scope.sizes[name])
    order = sorted(range(len(names)), key=lambda axis: scope.space.index(names[axis]))
    shape = [scope.sizes[index] if index in names else 1 for index in scope.space]
    return source.permute(order).reshape(shape)


def _gather(source: Partial, places: Sequence[Partial], scope: Scope) -> Partial:
    shape = source.value.shape
    present = reduce(both, (p.present for p in places), None)
    for place, extent in zip(places, shape, strict=True):
        present = both(present, (place.value >= 0) & (place.value < extent))
    if 0 in shape:
        nothing = torch.zeros([1] * len(scope.space), dtype=torch.bool, device=scope.device)
        return Partial(nothing.to(source.value.dtype), nothing)
    clamped = tuple(
        p.value.to(torch.int64).clamp(0, extent - 1) for p, extent in zip(places, shape, strict=True)
    )
    if source.present is not None:
        present = both(present, source.present[clamped])
    return Partial(source.value[clamped], present)
