"""The call that is accounted for: sizes, types and sample tensors, completed and checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from attn_dsl.account.values import Facts
from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.dtypes import FLOATS
from attn_dsl.planning.extents import with_own_extents
from attn_dsl.runtime.sizes import DTYPES, NAMES, evaluate_size

FEATURES = 64
LENGTH = 4096  # where the command line gives none
UNBOUNDED = 2**30  # of a table whose size nobody gives: every read is within it


def dtype_name(dtype: torch.dtype | str | None, on_cpu: bool) -> str:
    """``bf16`` for ``torch.bfloat16``; where none is given, what the device is best at. ArgumentError for
    others."""
    if dtype is None:
        return "f32" if on_cpu else "bf16"
    name = dtype if isinstance(dtype, str) else NAMES.get(dtype, "")
    if name not in FLOATS:
        raise ArgumentError(
            Diagnostic(f"dtype is {dtype}", help=f"one of {', '.join(FLOATS)}, or torch's own")
        )
    return name


def complete_sizes(
    cascade: Cascade, params: Mapping[str, int | float | bool], whole: Iterable[str], lengths: Iterable[str],
    given: Mapping[str, int], tensors: Mapping[str, torch.Tensor],
) -> dict[str, int]:  # fmt: skip
    """The size of every index. ``lengths``: indices that rows or streams run along, which must be given;
    others are 1, features 64. ArgumentError for names that are none, and for what is missing."""
    names = [i.name for i in cascade.indices]
    _check_names(cascade, given, [n for n in names if not n.startswith("_")])
    sizes = {n: int(v) for n, v in given.items()}
    whole, lengths = set(whole), set(lengths)
    _from_tensors(cascade, sizes, tensors)
    _declared(cascade, params, sizes)
    for name in names:
        if name in sizes:
            continue
        _declared(cascade, params, sizes)
        if name.startswith("_"):
            sizes.setdefault(name, UNBOUNDED)
        elif name in whole:
            sizes.setdefault(name, FEATURES)
        elif name not in lengths:
            sizes.setdefault(name, 1)
    _declared(cascade, params, sizes)
    missing = [n for n in names if n not in sizes]
    if missing:
        example = ", ".join(f"{n}=8192" for n in missing)
        message = f"the size of {' and '.join(repr(n) for n in missing)} is not given"
        raise ArgumentError(Diagnostic(message, help=f"analyze(..., {example}); without any size, formulas"))
    return sizes


def _check_names(cascade: Cascade, given: Mapping[str, Any], names: list[str]) -> None:
    for name, value in given.items():
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"indices: {', '.join(names)}"
            raise ArgumentError(Diagnostic(f"{cascade.name} has no index '{name}'", help=hint))
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ArgumentError(
                Diagnostic(f"the size of '{name}' is {value!r}", help="give an integer of 0 or more")
            )


def _declared(cascade: Cascade, params: Mapping[str, int | float | bool], sizes: dict[str, int]) -> None:
    progress = True
    while progress:
        progress = False
        for index in cascade.indices:
            if index.name not in sizes and index.size is not None:
                size = evaluate_size(index.size, params, sizes)
                if size is not None:
                    sizes[index.name] = max(size, 0)
                    progress = True


def _from_tensors(cascade: Cascade, sizes: dict[str, int], tensors: Mapping[str, torch.Tensor]) -> None:
    """Sizes from the shapes of sample tensors. ArgumentError where a tensor is none of the file, or does not
    fit."""
    inputs = {i.name: i for i in cascade.inputs}
    for name, tensor in tensors.items():
        if name not in inputs:
            known = ", ".join(inputs)
            raise ArgumentError(Diagnostic(f"{cascade.name} has no input '{name}'", help=f"inputs: {known}"))
        declared = inputs[name]
        if tensor.dim() != len(declared.axes):
            message = f"tensors['{name}'] has {tensor.dim()} dimensions, the file says {len(declared.axes)}"
            raise ArgumentError(Diagnostic(message, declared.span))
        for axis, extent in zip(declared.axes, tensor.shape, strict=True):
            index, *more = axis.indices
            if more:
                continue
            if sizes.setdefault(index, int(extent)) != extent:
                message = f"tensors['{name}'] has {extent} along '{index}', which is {sizes[index]}"
                raise ArgumentError(Diagnostic(message, declared.span, "give a sample of the same call"))


def tiled_indices(cascade: Cascade, params: Mapping[str, int | float | bool]) -> frozenset[str]:
    """Rows and streams: the indices whose length must be said. NotLoweredError where there are no kernels."""
    from attn_dsl.planning import plan as plan_of

    plan = plan_of(cascade, params)
    tiled = plan.roles.streams | plan.rows
    return frozenset(i.name for i in cascade.indices if i.name in tiled and i.size is None)


def example_sizes(
    cascade: Cascade, params: Mapping[str, int | float | bool], given: Mapping[str, int]
) -> dict[str, int]:
    """The sizes given, and a common length for what is tiled and has none, unless its size follows from
    others'."""
    found = dict(given)
    for index in cascade.indices:
        open_ = index.name in tiled_indices(cascade, params) and not index.name.startswith("_")
        if open_ and index.name not in found:
            found[index.name] = LENGTH
    return found


def facts_of(
    cascade: Cascade, params: Mapping[str, int | float | bool], sizes: Mapping[str, int],
    tensors: Mapping[str, torch.Tensor],
) -> Facts:  # fmt: skip
    """What is known of the call, tensors as numpy arrays."""
    arrays = {
        n: (t.float() if t.dtype in (torch.bfloat16, torch.float16) else t)
        .detach()
        .cpu()
        .resolve_neg()
        .numpy()
        for n, t in tensors.items()
    }
    return Facts(cascade, params, with_own_extents(cascade, sizes), arrays)


__all__ = ["DTYPES", "complete_sizes", "dtype_name", "facts_of"]
