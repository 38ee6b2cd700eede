"""How several elements become one, skipping those that do not exist."""

from __future__ import annotations

from collections.abc import Sequence
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
        return Partial(_along_last(value, kind))
    present = _reduced_last(partial.present, axes)
    return Partial(_along_last(torch.where(present, value, neutral(kind, value)), kind), present.any(-1))


def _reduced_last(value: Tensor, axes: Sequence[int]) -> Tensor:
    """The axes to reduce as one, the last."""
    kept = [a for a in range(value.dim()) if a not in axes]
    extents = [value.shape[a] for a in kept]
    return value.permute((*kept, *axes)).reshape(*extents, prod(value.shape[a] for a in axes))


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
    result = start.scatter_reduce(0, place, value, kind.rule.scatter)
    met = torch.zeros(count, dtype=torch.bool, device=value.device).index_fill(0, place, True)
    return Partial(result.to(torch.bool) if logical else result, met)


def _in_kind(value: Tensor, kind: Reduction) -> Tensor:
    if kind.rule.of_truths:
        return truth(value)
    counted = value.dtype == torch.bool and not kind.rule.direction
    return value.to(torch.int64) if counted else value


def neutral(kind: Reduction, like: Tensor) -> Tensor:
    """The element that changes nothing, of the type of ``like``."""
    low, high = _range(like.dtype)
    text = kind.rule.identity
    fill = low if text == "-inf" else high if text == "inf" else int(text)
    return torch.full((), fill, dtype=like.dtype, device=like.device)


def _range(dtype: torch.dtype) -> tuple[int | float, int | float]:
    if dtype.is_floating_point:
        return -torch.inf, torch.inf
    if dtype == torch.bool:
        return 0, 1
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def _along_last(value: Tensor, kind: Reduction) -> Tensor:
    """Along the last axis; torch's own extrema propagate NaN."""
    numbers = value.to(torch.int64) if value.dtype == torch.bool and kind.rule.direction else value
    return getattr(numbers, kind.rule.torch)(-1).to(value.dtype)
