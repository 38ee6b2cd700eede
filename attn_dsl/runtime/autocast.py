"""What a region of ``torch.autocast`` does to arguments: what it does to those of
scaled_dot_product_attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from attn_dsl.ir.cascade import Cascade
from attn_dsl.runtime.sizes import DTYPES, number_dtype


def is_autocasting() -> bool:
    """Whether this is a region, for any device."""
    return torch._C._is_any_autocast_enabled()  # pyright: ignore[reportPrivateUsage]


def cast(cascade: Cascade, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by name: f64 stays, other reals take the dtype of the region of their device; those whose
    dtype the file declares, that one. A number is a tensor of no declared dtype."""
    if not is_autocasting():
        return dict(given)
    declared = {i.name: None if i.dtype is None else DTYPES[i.dtype] for i in cascade.inputs}
    device = next(
        (v.device for v in given.values() if isinstance(v, torch.Tensor) and v.dim()), torch.device("cpu")
    )
    inputs = {i.name: i for i in cascade.inputs}
    tensors = {
        n: torch.full((), v, dtype=number_dtype(inputs[n], given), device=device)
        if isinstance(v, float) and not declared[n]
        else v
        for n, v in given.items()
    }
    return {n: _cast(v, declared[n]) if isinstance(v, torch.Tensor) else v for n, v in tensors.items()}


def _cast(tensor: torch.Tensor, declared: torch.dtype | None) -> torch.Tensor:
    device = tensor.device.type
    if (
        tensor.dtype == torch.float64
        or not tensor.is_floating_point()
        or not torch.is_autocast_enabled(device)
    ):
        return tensor
    return tensor.to(declared or torch.get_autocast_dtype(device))
