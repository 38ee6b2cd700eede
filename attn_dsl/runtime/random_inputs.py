"""Random arguments for a mechanism: sizes where none are given, tensors of the declared types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attn_dsl.ir.cascade import Cascade, Input
from attn_dsl.ir.dtypes import DTYPES, Kind

if TYPE_CHECKING:
    import torch

FEATURES, LENGTH, OTHER = 64, 128, 2


def example_sizes(
    cascade: Cascade, params: Mapping[str, int | float | bool], given: Mapping[str, int]
) -> dict[str, int]:
    """A size for every index: given, declared, or by its place in the widest input: 64 innermost, 128 (over
    all the members of a composite) next to it, 2 further out."""
    from attn_dsl.runtime.sizes import evaluate_size

    sizes = dict(given)
    declared = {i.name for i in cascade.indices if i.size is not None}
    for tensor in sorted(cascade.inputs, key=lambda t: -len(t.axes)):
        for place, axis in enumerate(reversed(tensor.axes)):
            members = [name for name in axis.indices if name not in declared]
            for name in members:
                sizes.setdefault(name, _by_place(len(tensor.axes), place, len(members)))
    for index in cascade.indices:
        declared_size = evaluate_size(index.size, params, sizes)
        if declared_size is not None:
            sizes[index.name] = declared_size
    return sizes


def _by_place(rank: int, place: int, members: int) -> int:
    if rank >= 3 and place == 0:
        return FEATURES
    if place == (1 if rank >= 3 else 0):
        return max(2, round(LENGTH ** (1 / members)))
    return OTHER


def random_arguments(
    cascade: Cascade, sizes: Mapping[str, int], dtype: torch.dtype, device: str, seed: int
) -> dict[str, torch.Tensor]:
    """One tensor an input. Integers lie in what they could index: below the longest size."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    longest = max((n for n in sizes.values()), default=1)
    arguments: dict[str, torch.Tensor] = {}
    for tensor in cascade.inputs:
        shape = _shape(tensor, sizes)
        arguments[tensor.name] = _tensor(tensor, shape, dtype, longest, generator).to(device)
    return arguments


def _shape(tensor: Input, sizes: Mapping[str, int]) -> tuple[int, ...]:
    shape: list[int] = []
    for axis in tensor.axes:
        extent = 1
        for name in axis.indices:
            extent *= sizes[name]
        shape.append(extent)
    return tuple(shape)


def _tensor(
    tensor: Input, shape: tuple[int, ...], dtype: torch.dtype, longest: int, generator: torch.Generator
) -> torch.Tensor:
    import torch

    declared = None if tensor.dtype is None else DTYPES[tensor.dtype]
    kind = dtype if declared is None else getattr(torch, declared.torch)
    if declared is None or declared.kind is Kind.REAL:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(kind)
    if declared.kind is Kind.BOOLEAN:
        return torch.rand(shape, generator=generator) < 0.5
    if declared.bytes == 1:  # packed bits, or labels
        low, high = declared.limits
        return torch.randint(low, high + 1, shape, generator=generator, dtype=kind)
    return torch.randint(0, max(1, longest), shape, generator=generator).to(kind)
