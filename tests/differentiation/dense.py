"""Derivatives by dense evaluation: of the cascades that differentiation gives, and by torch of the reference
itself."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.autograd import forward_ad

from attn_dsl.differentiation import Backward, Tangent
from attn_dsl.ir.cascade import Cascade
from attn_dsl.reference import evaluate
from attn_dsl.runtime.sizes import evaluate_size

Params = Mapping[str, int | float | bool]
Tensors = Mapping[str, Tensor]
Sizes = Mapping[str, int]


def gradients(
    passes: Backward, params: Params, arguments: Tensors, sizes: Sizes, given: Tensors
) -> dict[str, Tensor]:
    """The backward cascade and what finishes it."""
    sizes = dict(sizes)
    for index in passes.cascade.indices:
        sizes.setdefault(index.name, evaluate_size(index.size, params, sizes) or 0)
    computed = evaluate(passes.cascade, params, {**arguments, **given}, sizes)
    needed = {i.name: computed.get(i.name, arguments.get(i.name)) for i in passes.finish.inputs}
    finished = evaluate(passes.finish, params, {n: t for n, t in needed.items() if t is not None}, sizes)
    return {n: finished.get(t, computed.get(t)) for n, t in passes.gradients.items()}  # pyright: ignore


def tangents(
    found: Tangent, params: Params, arguments: Tensors, sizes: Sizes, along: Tensors
) -> dict[str, Tensor]:
    """The tangents of the outputs that have one, by the tangent cascade."""
    given = {seed: along[n] for n, seed in found.seeds.items()}
    computed = evaluate(found.cascade, params, {**arguments, **given}, sizes)
    return {o: computed[t] for o, t in found.tangents.items()}


def tangents_by_torch(
    cascade: Cascade, params: Params, arguments: Tensors, sizes: Sizes, along: Tensors
) -> dict[str, Tensor]:
    """The tangents of the real outputs, by torch's forward mode through the reference."""
    with forward_ad.dual_level():
        duals = {n: forward_ad.make_dual(t, along[n]) if n in along else t for n, t in arguments.items()}
        results = evaluate(cascade, params, duals, sizes)
        found = {n: forward_ad.unpack_dual(t).tangent for n, t in results.items() if t.is_floating_point()}
    return {n: torch.zeros_like(results[n]) if t is None else t for n, t in found.items()}


def doubled(arguments: Tensors) -> dict[str, Tensor]:
    """The arguments, reals in float64."""
    return {n: t.double() if t.is_floating_point() else t for n, t in arguments.items()}


def drawn_like(tensors: Tensors, seed: int = 1) -> dict[str, Tensor]:
    """Normal values in the shape of each tensor of reals."""
    torch.manual_seed(seed)
    return {n: torch.randn(t.shape, dtype=torch.float64) for n, t in tensors.items() if t.is_floating_point()}
