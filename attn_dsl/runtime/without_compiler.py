"""A machine without a C++ compiler: small sizes by the dense reference, with a warning; larger ones are
refused."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from math import prod

import torch

from attn_dsl.errors import Diagnostic, TargetError
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.reference import evaluate
from attn_dsl.runtime.sizes import DTYPES, Bound

SMALL = 1 << 24  # elements of the largest statement: a second, and a few hundred megabytes
_HELP = "install g++ or clang++, or name a compiler by CXX=..."


def by_reference(
    cascade: Cascade, params: Mapping[str, int | float | bool], bound: Bound
) -> dict[str, torch.Tensor]:
    """The outputs, in the dtypes the kernels would give. TargetError where that takes more than ``SMALL``."""
    largest = max(
        prod(bound.sizes[d] for d in _indices(s)) for s in cascade.statements if isinstance(s, Einsum)
    )
    if largest > SMALL:
        raise TargetError(
            Diagnostic(
                f"no C++ compiler was found, and {largest} elements are too many for the dense reference",
                help=_HELP,
            )
        )
    warnings.warn(f"attn_dsl found no C++ compiler and computes densely: {_HELP}", stacklevel=4)
    real = [bound.arguments[i.name].dtype for i in cascade.inputs if i.dtype is None]
    result = real[0] if real else torch.float32
    for dtype in real[1:]:
        result = torch.promote_types(result, dtype)
    wide = torch.float64 if result == torch.float64 else torch.float32
    values = evaluate(cascade, params, bound.arguments, bound.sizes, wide)
    return {o.name: _as_declared(values[o.name], o.dtype, result) for o in cascade.outputs}


def _indices(statement: Einsum) -> set[str]:
    return {*statement.dims, *statement.over}


def _as_declared(value: torch.Tensor, declared: str | None, result: torch.dtype) -> torch.Tensor:
    if declared is not None:
        return value.to(DTYPES[declared])
    return value.to(result) if value.is_floating_point() else value
