"""Predicates that depend on what is not known before the call: between what surely and what possibly
holds."""

from __future__ import annotations

from dataclasses import replace

from attn_dsl.account.values import Facts, reads
from attn_dsl.analysis.interval import interval_test
from attn_dsl.analysis.iteration import IndexBounds, IterationPlan, Term
from attn_dsl.analysis.logic import conjunction, disjunction, negation
from attn_dsl.codegen.tiles import Visits
from attn_dsl.ir.expr import Const, Expr, Op, Select


def settled(predicate: Expr, facts: Facts, unknown: bool) -> Expr:
    """The predicate with every condition that is not known taken to be ``unknown``: with True it holds at
    least wherever the predicate may, with False at most where it surely does."""
    if facts.knows(predicate):
        return predicate
    match predicate:
        case Op(name="and", args=args):
            return conjunction(*(settled(a, facts, unknown) for a in args))
        case Op(name="or", args=args):
            return disjunction(*(settled(a, facts, unknown) for a in args))
        case Op(name="not", args=(inner,)):
            return negation(settled(inner, facts, not unknown))
        case Select(condition=c, then=a, otherwise=b) if facts.knows(c):
            return Select(c, settled(a, facts, unknown), settled(b, facts, unknown))
        case _:
            return Const(unknown)


def is_known(visits: Visits, facts: Facts) -> bool:
    """Whether the tiles of a loop can be counted."""
    terms = visits.plan.terms
    limits = (e for t in terms for b in t.bounds for e in (*b.lower, *b.upper))
    conditions = (c for t in terms for c in t.row_conditions)
    tested = () if visits.tested is None else _read_by_test(visits.tested, facts)
    return all(facts.knows(e) for e in (*limits, *conditions, *tested))


def _read_by_test(guard: Expr, facts: Facts) -> tuple[Expr, ...]:
    """What an interval test of a guard looks at; whatever else the guard asks may hold anywhere."""
    return tuple(e.read for e in interval_test(guard, facts.params, facts.cascade).extrema)


def loosened(visits: Visits, facts: Facts) -> Visits:
    """At least the tiles that are visited: bounds and tests that are not known left out."""

    def known(exprs: tuple[Expr, ...]) -> tuple[Expr, ...]:
        return tuple(e for e in exprs if facts.knows(e))

    terms = tuple(
        Term(
            tuple(IndexBounds(b.index, known(b.lower), known(b.upper)) for b in t.bounds),
            (*t.residual, Const(True)),  # none of its tiles is surely full
            known(t.row_conditions),
        )
        for t in visits.plan.terms
    )
    tested = None if visits.tested is None else settled(visits.tested, facts, True)
    return replace(visits, plan=IterationPlan(terms), tested=tested)


def why_unknown(predicate: Expr, facts: Facts) -> str:
    """What a predicate reads that is not given, in words."""
    inputs = {i.name for i in facts.cascade.inputs}
    missing = [t for t in reads(predicate) if t not in facts.tensors]
    given = [t for t in missing if t in inputs]
    computed = [t for t in missing if t not in inputs]
    parts = [f"the values of {' and '.join(given)} are not given"] if given else []
    parts += [f"{' and '.join(computed)} is computed"] if computed else []
    return "; ".join(parts) or "it is drawn at random"
