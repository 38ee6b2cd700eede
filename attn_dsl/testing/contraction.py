"""The error of a sum of products by two matrix products, where no array over the whole space is wanted.

With factors of magnitude a, b and errors α, β:   Σ (a + α)(b + β) - Σ a b
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from attn_dsl.ir.cascade import Einsum
from attn_dsl.ir.expr import Expr, Op
from attn_dsl.ir.walk import index_names
from attn_dsl.testing.measured import Measured, Model, measure
from attn_dsl.testing.operands import Operands
from attn_dsl.testing.precision import Precision


def contract(statement: Einsum, model: Model, operands: Operands) -> tuple[Tensor, Tensor] | None:
    """Error and magnitude on the target's dims, but for the rounding of the sum; None where the body is not a
    product of two finite factors that both vary along every reduced index."""
    body, scope = statement.body, model.scope
    if statement.is_keyed or not isinstance(body, Op) or body.name != "mul" or not statement.over:
        return None
    if any(not set(statement.over) <= set(index_names(arg)) for arg in body.args):
        return None
    if prod(scope.extents(scope.space)) == 0:
        return None
    factors = [measure(arg, model) for arg in body.args]
    if not all(bool(f.partial.filled(0).isfinite().all()) for f in factors):
        return None
    if statement.where is not None:
        factors = _guarded(factors, measure(statement.where, model))
    over = [scope.space.index(name) for name in statement.over]
    if any(f.magnitude.shape[axis] != scope.sizes[scope.space[axis]] for f in factors for axis in over):
        return None
    rounded = operands.roundings(body, statement.over) > 0
    upper = [
        _upper(f, arg, rounded and not operands.is_exact(arg), model.precision)
        for f, arg in zip(factors, body.args, strict=True)
    ]
    magnitude = _einsum([f.magnitude for f in factors], over)
    error = torch.nan_to_num(_einsum(upper, over), nan=torch.inf, posinf=torch.inf) - magnitude
    shape = scope.extents(statement.dims)
    return error.clamp(min=0).expand(shape), magnitude.expand(shape)


def _guarded(factors: Sequence[Measured], guard: Measured) -> list[Measured]:
    """The guard on the factor that it makes the less larger."""
    sizes = [prod(torch.broadcast_shapes(f.error.shape, guard.error.shape)) for f in factors]
    chosen = sizes.index(min(sizes))
    return [f.guarded(guard) if k == chosen else f for k, f in enumerate(factors)]


def _upper(factor: Measured, expr: Expr, rounded: bool, precision: Precision) -> Tensor:
    size = factor.magnitude + factor.error
    if not rounded:
        return size
    size = torch.where(size > precision.operand_largest, torch.inf, size)
    return size * (1 + precision.operand) + precision.operand_smallest


def _einsum(factors: Sequence[Tensor], over: Sequence[int]) -> Tensor:
    axes = list(range(factors[0].dim()))
    kept = [axis for axis in axes if axis not in over]
    return torch.einsum(factors[0], axes, factors[1], axes, kept)
