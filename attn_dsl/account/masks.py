"""The account of masks: named ones, and what statements make of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from attn_dsl.account.live import count_live
from attn_dsl.account.model import MaskAccount
from attn_dsl.account.values import Facts
from attn_dsl.analysis.iteration import plan_iteration
from attn_dsl.analysis.presence import truth
from attn_dsl.ir.cascade import Cascade, Einsum, Mask
from attn_dsl.ir.printer import print_expr
from attn_dsl.ir.walk import index_names

Params = Mapping[str, int | float | bool]


def account_mask(mask: Mask, cascade: Cascade, facts: Facts | None, params: Params) -> MaskAccount:
    """A mask's plan, and with facts its live elements over its own indices."""
    predicate = truth(mask.predicate, cascade)
    indices = index_names(predicate)
    streams = _streams_of(cascade, indices)
    plan = plan_iteration(predicate, streams, params, cascade)
    live = None if facts is None else count_live(predicate, indices, frozenset(streams), facts)
    return MaskAccount(mask.name, print_expr(mask.predicate), indices, live, plan.closed_form, str(plan))


def combinations(cascade: Cascade) -> tuple[Mask, ...]:
    """The conditions of statements that are more than one named mask alone."""
    named = {m.predicate for m in cascade.masks}
    found = (s.where for s in cascade.statements if s.where is not None and s.where not in named)
    fresh = tuple(dict.fromkeys(found))
    return tuple(Mask(f"where {n}" if len(fresh) > 1 else "where", w) for n, w in enumerate(fresh, 1))


def mask_formula(mask: Mask, cascade: Cascade, params: Params) -> MaskAccount:
    """A mask's plan and its live elements as a formula, or the reason why there is none."""
    from attn_dsl.account.symbolic import NoFormula, live_formula, polynomial

    found = account_mask(mask, cascade, None, params)
    predicate = truth(mask.predicate, cascade)
    streams = _streams_of(cascade, found.indices)
    try:
        formula = live_formula(predicate, found.indices, streams, params, cascade)
    except NoFormula as reason:
        return replace(found, no_formula=str(reason))
    simple = polynomial(predicate, found.indices, streams, params, cascade)
    told = "" if simple is None else f"{simple[0]}  where {simple[1]}"
    return replace(found, formula=str(formula), simple=told)


def _streams_of(cascade: Cascade, indices: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a mask's indices that some reduction runs over and no result keeps; where there are none, the
    last."""
    reduced = {i for s in cascade.statements if isinstance(s, Einsum) for i in s.over}
    kept = {d for o in cascade.outputs for a in o.axes for d in a.indices}
    return tuple(i for i in indices if i in reduced and i not in kept) or indices[-1:]
