"""Tensors as memory that a kernel may read: torch has some whose values are not what lies at their
address."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.runtime.dispatch import is_zero_tensor


def stored(arguments: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The arguments of a launch, all on one device, with their values in memory. ArgumentError where one has
    none."""
    device = next((t.device for t in arguments.values()), None)
    for name, tensor in arguments.items():
        if tensor.device != device:
            raise ArgumentError(
                Diagnostic(
                    f"'{name}' is on {tensor.device}, others on {device}", help="move all to one device"
                )
            )
    return {name: in_memory(name, tensor) for name, tensor in arguments.items()}


def in_memory(name: str, tensor: Tensor) -> Tensor:
    """The tensor itself, or what its lazy negation or conjugation means; zeros for one that stands for
    zeros."""
    if is_zero_tensor(tensor):
        zeros = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)
        return zeros.zero_()
    resolved = tensor.resolve_conj().resolve_neg()
    if resolved.numel() and not resolved.data_ptr():
        raise ArgumentError(
            Diagnostic(f"'{name}' of shape {tuple(tensor.shape)} has no memory", help="give it values")
        )
    return resolved
