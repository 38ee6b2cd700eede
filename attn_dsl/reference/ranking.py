"""Statements that compare the elements along an index: topk, topp, argsort, argmax.

Ties go to the lower index; elements that do not exist rank behind all others; NaN is above every number, as
torch sorts it. No gradient flows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attn_dsl.ir.cascade import Ranking, RankingKind
from attn_dsl.reference.expressions import evaluate_expression
from attn_dsl.reference.partial import Partial, Scope


def rank(statement: Ranking, scope: Scope) -> Partial:
    """The result over the target's dims. A truth value is false, not absent, where there was no element."""
    over = statement.over
    space = (*(d for d in statement.dims if d != over), over)
    scope = scope.over(space)
    guard = None if statement.where is None else evaluate_expression(statement.where, scope).certainly()
    body = evaluate_expression(statement.body, scope).within(guard)
    value = body.value.detach().expand(scope.extents(space))
    value = value.to(torch.int64) if value.dtype == torch.bool else value
    present = torch.ones_like(value, dtype=torch.bool)
    present = present if body.present is None else body.present.expand(value.shape)
    limit = None if statement.count is None else evaluate_expression(statement.count, scope).filled(0)
    result = _along_last(statement.kind, value, present, limit)
    if over not in statement.dims:
        return result
    order = [space.index(d) for d in statement.dims]
    result_present = None if result.present is None else result.present.permute(order)
    return Partial(result.value.permute(order), result_present)


def _along_last(kind: RankingKind, value: Tensor, present: Tensor, limit: Tensor | None) -> Partial:
    match kind:
        case RankingKind.ARGSORT:
            order = _order(value, present, descending=False)
            return Partial(order, present.gather(-1, order))
        case RankingKind.ARGMAX:
            if value.shape[-1] == 0:
                return Partial(value.new_zeros(value.shape[:-1], dtype=torch.int64), present.any(-1))
            return Partial(_order(value, present, descending=True)[..., 0], present.any(-1))
        case RankingKind.TOPK:
            assert limit is not None, "the resolver gives topk its count"
            order = _order(value, present, descending=True)
            place = torch.arange(value.shape[-1], device=value.device).expand(value.shape)
            return Partial(torch.zeros_like(present).scatter(-1, order, place < limit) & present)
        case RankingKind.TOPP:
            assert limit is not None, "the resolver gives topp its share"
            order = _order(value, present, descending=True)
            masses = torch.where(present, value, torch.zeros_like(value)).gather(-1, order)
            return Partial(torch.zeros_like(present).scatter(-1, order, _leading(masses, limit)) & present)


def _order(value: Tensor, present: Tensor, *, descending: bool) -> Tensor:
    """The positions of the elements, sorted; those that do not exist last."""
    order = torch.sort(value, dim=-1, descending=descending, stable=True).indices
    absent = (~present).to(torch.uint8).gather(-1, order)
    return order.gather(-1, torch.sort(absent, dim=-1, stable=True).indices)


def _leading(masses: Tensor, share: Tensor) -> Tensor:
    """The shortest run from the front whose sum reaches the share of the total."""
    goal = share * masses.sum(-1, keepdim=True)
    before = masses.cumsum(-1) - masses
    return ((before >= goal).cumsum(-1)) == 0
