"""A sum of products as a matrix product, where that computes the same without an array over the whole space.

    O[i,e] += P[i,j] * V[j,e]      a product of two factors, both of which vary along every reduced index

Absent elements count as 0, which is exact only if what they meet is finite; otherwise the sum is left to be
taken element by element. Factors that lack a reduced index are too: torch would sum the other one first.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from attn_dsl.ir.cascade import Einsum
from attn_dsl.ir.expr import Op
from attn_dsl.ir.walk import index_names
from attn_dsl.reference.expressions import evaluate_expression
from attn_dsl.reference.partial import Partial, Scope, both


def contract(statement: Einsum, scope: Scope) -> Partial | None:
    """The sum over the statement's space, on its target's dims; None where this way does not apply."""
    body = statement.body
    if not isinstance(body, Op) or body.name != "mul" or not statement.over:
        return None
    if any(not set(statement.over) <= set(index_names(arg)) for arg in body.args):
        return None
    if prod(scope.extents(scope.space)) == 0:
        return None
    guard = None if statement.where is None else evaluate_expression(statement.where, scope).certainly()
    left, right = (evaluate_expression(arg, scope, guard) for arg in body.args)
    over = [scope.space.index(name) for name in statement.over]
    if guard is not None and any(guard.shape[axis] > 1 for axis in over):
        left, right = _guarded(left, right, guard)
        guard = None
    result = _product(left, right, over, scope)
    if result is None:
        return None
    if guard is not None:
        result = result.within(guard.squeeze(over))
    return result.expand(scope.extents(statement.dims))


def _guarded(left: Partial, right: Partial, guard: Tensor) -> tuple[Partial, Partial]:
    """The guard on the factor that it makes the less larger."""
    sizes = [prod(torch.broadcast_shapes(f.value.shape, guard.shape)) for f in (left, right)]
    return (left.within(guard), right) if sizes[0] <= sizes[1] else (left, right.within(guard))


def _product(left: Partial, right: Partial, over: Sequence[int], scope: Scope) -> Partial | None:
    factors = [f.filled(0) for f in (left, right)]
    extents = scope.extents(scope.space)
    if any(f.shape[axis] != extents[axis] for f in factors for axis in over):
        return None
    if not any(f.is_floating_point() for f in factors):
        return None
    present = _some(left.present, right.present, over)
    if present is not None and not all(bool(torch.isfinite(f).all()) for f in factors):
        return None
    return Partial(_einsum(factors[0].to(scope.dtype), factors[1].to(scope.dtype), over), present)


def _some(left: Tensor | None, right: Tensor | None, over: Sequence[int]) -> Tensor | None:
    """Where some pair of elements exists along the reduced axes."""
    if left is None or right is None:
        one = both(left, right)
        return None if one is None else one.any(tuple(over))
    return _einsum(left.to(torch.float32), right.to(torch.float32), over) > 0


def _einsum(left: Tensor, right: Tensor, over: Sequence[int]) -> Tensor:
    axes = list(range(left.dim()))
    kept = [axis for axis in axes if axis not in over]
    return torch.einsum(left, axes, right, axes, kept)
