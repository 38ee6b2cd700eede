"""Iteration plans: which elements of a stream a row needs, in closed form where that is possible.

A guard becomes alternatives (terms); a term bounds each stream index from both sides by integer expressions
in the row's own indices, and keeps as ``residual`` what is not such a bound. Nothing depends on lengths: a
kernel evaluates the bounds for its own rows.

    j <= i and (j < s or i - j < w)   ->   j <= i, j <= s - 1   or   j <= i, j >= i - w + 1
"""

from __future__ import annotations

from dataclasses import dataclass

from attn_dsl.analysis.integers import Values
from attn_dsl.analysis.linear import Bound, solve
from attn_dsl.analysis.predicates import Alternatives, Conjunction, is_integral
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Const, Expr, Op
from attn_dsl.ir.printer import print_expr
from attn_dsl.ir.walk import index_names


@dataclass(frozen=True, slots=True)
class IndexBounds:
    """``index >= every lower`` and ``index <= every upper``."""

    index: str
    lower: tuple[Expr, ...]
    upper: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """A conjunction: bounds, predicates on the row alone, and the rest."""

    bounds: tuple[IndexBounds, ...]
    residual: tuple[Expr, ...]
    row_conditions: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class IterationPlan:
    """A disjunction of terms; none: the stream is certainly empty."""

    terms: tuple[Term, ...]

    @property
    def closed_form(self) -> bool:
        """Whether the bounds say everything."""
        return all(not term.residual for term in self.terms)

    def __str__(self) -> str:
        if not self.terms:
            return "no element"
        return "\nor ".join(_describe(term) for term in self.terms)


def plan_iteration(guard: Expr, streams: tuple[str, ...], params: Values, cascade: Cascade) -> IterationPlan:
    """The plan of a total guard over the streams. ``params``: those whose value is known."""
    names = frozenset(streams)
    alternatives = Alternatives(names, params, cascade).of(guard)
    terms = [_term(conjunction, streams, params, cascade) for conjunction in alternatives]
    return IterationPlan(tuple(dict.fromkeys(terms)))


def _term(conjunction: Conjunction, streams: tuple[str, ...], params: Values, cascade: Cascade) -> Term:
    names = frozenset(streams)
    bounds: list[Bound] = []
    residual: list[Expr] = []
    rows: list[Expr] = []
    for atom in conjunction:
        if not set(index_names(atom)) & names:
            rows.append(atom)
            continue
        bound = _bound(atom, names, params, cascade)
        if bound is None:
            residual.append(atom)
        else:
            bounds.append(bound)
    collected = tuple(
        IndexBounds(
            s,
            tuple(dict.fromkeys(b.limit for b in bounds if b.index == s and not b.upper)),
            tuple(dict.fromkeys(b.limit for b in bounds if b.index == s and b.upper)),
        )
        for s in streams
    )
    return Term(collected, tuple(residual), tuple(rows))


def _bound(atom: Expr, streams: frozenset[str], params: Values, cascade: Cascade) -> Bound | None:
    if not isinstance(atom, Op) or not is_integral(atom, cascade):
        return None
    one = Const(1)
    match atom:
        case Op(name="le", args=(a, b)) | Op(name="ge", args=(b, a)):
            return solve(Op("sub", (a, b)), streams, params)
        case Op(name="lt", args=(a, b)) | Op(name="gt", args=(b, a)):
            return solve(Op("add", (Op("sub", (a, b)), one)), streams, params)
        case _:
            return None


def _describe(term: Term) -> str:
    parts: list[str] = []
    for bound in term.bounds:
        low = " and ".join(f"{bound.index} >= {print_expr(e)}" for e in bound.lower)
        high = " and ".join(f"{bound.index} <= {print_expr(e)}" for e in bound.upper)
        parts += [p for p in (low, high) if p] or [f"all {bound.index}"]
    parts += [f"for rows with {print_expr(e)}" for e in term.row_conditions]
    parts += [f"tested a tile: {print_expr(e)}" for e in term.residual]
    return ", ".join(parts)
