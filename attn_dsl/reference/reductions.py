"""How several elements become one, skipping those that do not exist."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod

import torch
from torch import Tensor

from attn_dsl.ir.cascade import Reduction
from attn_dsl.reference.partial import Partial, truth


def reduce_axes(partial: Partial, axes: Sequence[int], kind: Reduction) -> Partial:
    """Reduce the given axes, which have their full extent; the others stay. ``kind`` is not the mean."""
    partial = partial.expand(())
    value = _reduced_last(_in_kind(partial.value, kind), axes)
    if value.shape[-1] == 0:
        nothing = torch.zeros(value.shape[:-1], dtype=torch.bool, device=value.device)
        return Partial(nothing.to(value.dtype), nothing)
    if partial.present is None:
        return Partial(_REDUCE[kind](value))
    present = _reduced_last(partial.present, axes)
    return Partial(_REDUCE[kind](torch.where(present, value, neutral(kind, value))), present.any(-1))


def _reduced_last(value: Tensor, axes: Sequence[int]) -> Tensor:
    """The axes to reduce as one, the last."""
    kept = [a for a in range(value.dim()) if a not in axes]
    extents = [value.shape[a] for a in kept]
    return value.permute(*kept, *axes).reshape(*extents, prod(value.shape[a] for a in axes))


def merge(parts: Sequence[Partial], kind: Reduction) -> Partial:
    """Several contributions to one tensor, of one shape, taken together."""
    if len(parts) == 1:
        return Partial(_in_kind(parts[0].value, kind), parts[0].present)
    dtype = reduce(torch.promote_types, (p.value.dtype for p in parts))
    value = torch.stack([p.value.to(dtype) for p in parts], -1)
    present = None
    if any(p.present is not None for p in parts):
        masks = [
            torch.ones_like(p.value, dtype=torch.bool) if p.present is None else p.present for p in parts
        ]
        present = torch.stack(masks, -1)
    return reduce_axes(Partial(value, present), [value.dim() - 1], kind)


def scatter(partial: Partial, place: Tensor, count: int, kind: Reduction) -> Partial:
    """Reduce flat elements to ``count`` places, each element to its own. ``kind`` is not the mean."""
    value = _in_kind(partial.value, kind)
    if partial.present is not None:
        value, place = value[partial.present], place[partial.present]
    logical = value.dtype == torch.bool
    value = value.to(torch.int64) if logical else value
    start = neutral(kind, value).expand(count)
    result = start.scatter_reduce(0, place, value, _SCATTER[kind])
    met = torch.zeros(count, dtype=torch.bool, device=value.device).index_fill(0, place, True)
    return Partial(result.to(torch.bool) if logical else result, met)


def _in_kind(value: Tensor, kind: Reduction) -> Tensor:
    match kind:
        case Reduction.ANY | Reduction.ALL:
            return truth(value)
        case Reduction.SUM | Reduction.PRODUCT | Reduction.MEAN:
            return value.to(torch.int64) if value.dtype == torch.bool else value
        case Reduction.MAX | Reduction.MIN:
            return value


def neutral(kind: Reduction, like: Tensor) -> Tensor:
    """The element that changes nothing, of the type of ``like``."""
    match kind:
        case Reduction.SUM | Reduction.MEAN | Reduction.ANY:
            fill: int | float = 0
        case Reduction.PRODUCT | Reduction.ALL:
            fill = 1
        case Reduction.MAX | Reduction.MIN:
            low, high = _range(like.dtype)
            fill = low if kind is Reduction.MAX else high
    return torch.full((), fill, dtype=like.dtype, device=like.device)


def _range(dtype: torch.dtype) -> tuple[int | float, int | float]:
    if dtype.is_floating_point:
        return -torch.inf, torch.inf
    if dtype == torch.bool:
        return 0, 1
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def _extremum(kind: Reduction) -> Callable[[Tensor], Tensor]:
    """Along the last axis; torch's own propagate NaN."""

    def reduce_last(value: Tensor) -> Tensor:
        numbers = value.to(torch.int64) if value.dtype == torch.bool else value
        return (numbers.amax(-1) if kind is Reduction.MAX else numbers.amin(-1)).to(value.dtype)

    return reduce_last


_REDUCE: dict[Reduction, Callable[[Tensor], Tensor]] = {
    Reduction.SUM: lambda value: value.sum(-1),
    Reduction.PRODUCT: lambda value: value.prod(-1),
    Reduction.MAX: _extremum(Reduction.MAX),
    Reduction.MIN: _extremum(Reduction.MIN),
    Reduction.ANY: lambda value: value.any(-1),
    Reduction.ALL: lambda value: value.all(-1),
}
_SCATTER = {
    Reduction.SUM: "sum",
    Reduction.PRODUCT: "prod",
    Reduction.MAX: "amax",
    Reduction.MIN: "amin",
    Reduction.ANY: "amax",
    Reduction.ALL: "amin",
}
