"""The shapes and dtypes of results without their values, for tracing: sizes may be symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from attn_dsl.codegen.program import Buffer
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import SizeOf
from attn_dsl.ir.walk import walk
from attn_dsl.runtime.kernels import Kernels
from attn_dsl.runtime.mechanism import Mechanism
from attn_dsl.runtime.sizes import DTYPES, NAMES, conforming, evaluate_size, solve_sizes


def forward(mechanism: Mechanism, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The outputs, without values. ArgumentError where shapes or dtypes do not fit."""
    return _results(mechanism, mechanism.kernels, tensors)


def forward_keeping(mechanism: Mechanism, tensors: Sequence[Tensor], wanted: Sequence[int]) -> list[Tensor]:
    """The outputs and what is kept for the backward pass, without values."""
    return _results(mechanism, mechanism.training(tensors, wanted).forward_pass.kernels, tensors)


def backward(mechanism: Mechanism, tensors: Sequence[Tensor], wanted: Sequence[int]) -> list[Tensor]:
    """The gradients, without values: row-major, like the inputs in all else."""
    return [tensors[at].new_empty(tensors[at].shape) for at in wanted]


def tangents(mechanism: Mechanism, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tangents of the floating outputs, without values."""
    return [t for t in forward(mechanism, tensors) if t.is_floating_point()]


def _results(mechanism: Mechanism, kernels: Kernels, tensors: Sequence[Tensor]) -> list[Tensor]:
    names = (i.name for i in mechanism.cascade.inputs)
    arguments = conforming(mechanism.cascade, dict(zip(names, tensors, strict=True)))
    buffers = kernels.results({n: NAMES[t.dtype] for n, t in arguments.items()})
    sizes = _sizes(mechanism, kernels.cascade, arguments, buffers)
    device = next((t.device for t in arguments.values()), torch.device("cpu"))
    return [
        torch.empty([prod(sizes[i] for i in axis) for axis in b.axes], dtype=DTYPES[b.dtype], device=device)
        for b in buffers
    ]


def _sizes(
    mechanism: Mechanism, cascade: Cascade, arguments: Mapping[str, Tensor], buffers: tuple[Buffer, ...]
) -> dict[str, int]:
    """The sizes of the mechanism's indices, and of those that only ``cascade``, derived from it, has."""
    declared = (*mechanism.cascade.indices, *cascade.indices)
    needed = {i for b in buffers for axis in b.axes for i in axis}
    needed |= {n.index for i in declared if i.size for n in walk(i.size) if isinstance(n, SizeOf)}

    def extent(index: str, limits: Tensor) -> int:
        """Known only from values: a symbol of its own where it matters to a result."""
        return torch.library.get_ctx().new_dynamic_size() if index in needed else 0

    sizes = solve_sizes(mechanism.cascade, mechanism.params, arguments, extent)
    for index in cascade.indices:
        if index.name not in sizes:
            size = evaluate_size(index.size, mechanism.params, sizes)
            assert size is not None
            sizes[index.name] = size
    return sizes
