"""The vmap that torch had before ``torch.func``, which still maps adjoints and tangents:
``is_grads_batched``, and ``torch.autograd.functional`` with ``vectorize``. A call that meets its tensors is
mapped by ``torch.func.vmap`` instead.
"""
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false, reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


def is_sliced(value: object) -> bool:
    """Whether a tensor stands for slices of the older vmap."""
    return isinstance(value, Tensor) and torch._C._functorch.is_legacy_batchedtensor(value)


def over_slices(call: Callable[..., Any], *args: Any) -> Any:
    """``call(*args)``, where tensors anywhere in the arguments may be slices; all of its results are then."""
    given, spec = pytree.tree_flatten(args)
    if not any(map(is_sliced, given)):
        return call(*args)

    def mapped(*leaves: Any) -> Any:
        return call(*pytree.tree_unflatten(leaves, spec))

    levels: list[int] = []
    for level in range(_nesting(), 0, -1):
        given, dims = _without(given, level)
        if any(d is not None for d in dims):
            levels.append(level)
            mapped = torch.func.vmap(mapped, dims)
    results = mapped(*given)
    for level in reversed(levels):
        results = pytree.tree_map_only(Tensor, lambda t, at=level: torch._add_batch_dim(t, 0, at), results)
    return results


def _nesting() -> int:
    """How many of these maps stand around a call."""
    torch._C._vmapmode_increment_nesting()
    return torch._C._vmapmode_decrement_nesting()


def _without(values: Sequence[Any], level: int) -> tuple[list[Any], tuple[int | None, ...]]:
    """The values with their slices of a level along the first axis, and which have any."""
    moved = [torch._remove_batch_dim(v, level, 0, 0) if is_sliced(v) else None for v in values]
    have = [
        m is not None and m.shape[0] > 0 for m in moved
    ]  # what is of another level comes repeated no times
    given = [m if h else v for m, v, h in zip(moved, values, have, strict=True)]
    return given, tuple(0 if h else None for h in have)
