"""Take a sum of products of matrices apart, that each be multiplied as one.

    O[i,e] += A[i,j] * U[j,e] + B[i,j] * V[j,e]     ->     O[i,e] += A[i,j] * U[j,e]
                                                           O[i,e] += B[i,j] * V[j,e]
    O[i,e] += A[i,j] * U[j,e] + A[i,j] * V[j,e]     ->     O[i,e] += A[i,j] * (U[j,e] + V[j,e])

A product is one of matrices where none of its factors has every index: as a sum it has to be evaluated for
every i, j and e. Terms that share a factor, so that the rest of them stays such a factor, cost one product
together. Squares such as ``(Q[i,d] - K[j,d]) ** 2`` are not expanded, which would lose accuracy: only what is
written as a sum of products is taken apart. A sum is absent where either term is, so each part asks whether
the others exist.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from attn_dsl.ir.cascade import Cascade, Einsum, Reduction, Statement
from attn_dsl.ir.expr import Expr, Op
from attn_dsl.ir.walk import index_names
from attn_dsl.rewrites.algebra import (
    MINUS_ONE,
    Factor,
    Term,
    conjunction,
    conjuncts,
    factors,
    negated,
    product,
    terms,
    total,
)
from attn_dsl.rewrites.definitions import Definitions, Replacements
from attn_dsl.rewrites.presence import Presence


@dataclass(frozen=True, slots=True)
class _Whole:
    """What a statement ranges over, and what it sums over."""

    indices: frozenset[str]
    over: frozenset[str]

    def fills(self, expr: Expr) -> bool:
        """Whether an expression has a value for every element that is summed."""
        return self.indices <= set(index_names(expr))

    def is_of_matrices(self, parts: Iterable[Factor]) -> bool:
        """Whether a product sums what two factors have, neither of which has every index."""
        found = [f.expr for f in parts]
        summed = [e for e in found if self.over & set(index_names(e))]
        return len(summed) > 1 and not any(map(self.fills, found))


def separate(cascade: Cascade) -> Cascade:
    """Take every sum of products of matrices apart."""
    definitions = Definitions(cascade)
    presence = Presence(cascade)

    def rule(group: tuple[Statement, ...]) -> Replacements:
        return tuple(_parts(s, definitions, presence) for s in group)

    return definitions.replaced(rule)


def _parts(statement: Statement, definitions: Definitions, presence: Presence) -> tuple[Statement, ...]:
    if not isinstance(statement, Einsum) or statement.reduce is not Reduction.SUM or statement.is_keyed:
        return (statement,)
    own = factors(statement.body)
    filling = [k for k, f in enumerate(own) if _Whole(_indices(statement), frozenset()).fills(f.expr)]
    if len(filling) != 1 or not statement.over or own[filling[0]].inverted:
        return (statement,)
    (at,) = filling
    addition, guards = definitions.revealed(own[at].expr)
    whole = _Whole(_indices(replace(statement, body=addition)), frozenset(statement.over))
    where = conjunction((statement.where, *guards))
    if any(map(whole.fills, conjuncts(where))):
        return (statement,)
    rest = own[:at] + own[at + 1 :]
    written = [factors(_together(g, whole)) for g in _groups(terms(addition), whole)]
    if len(terms(addition)) < 2 or not any(map(whole.is_of_matrices, written)):
        return (statement,)
    bodies = [(*w, *rest) for w in written]
    parts = [replace(statement, body=product(b), where=where) for b in bodies]
    guarded = [_guarded(p, bodies, presence) for p in parts]
    return (statement,) if any(_is_full(p, whole) for p in guarded) else tuple(guarded)


def _indices(statement: Einsum) -> frozenset[str]:
    return frozenset((*index_names(statement.body), *statement.over))


def _is_full(part: Einsum, whole: _Whole) -> bool:
    return any(map(whole.fills, conjuncts(part.where)))


def _groups(parts: Iterable[Term], whole: _Whole) -> list[list[Term]]:
    """The terms that are multiplied together: all that are products of no matrices, and those with a factor
    in common that leave a matrix."""
    found: list[list[Term]] = []
    others: list[Term] = []
    for term in parts:
        if any(whole.fills(f.expr) for f in factors(term.expr)):
            others.append(term)
            continue
        joined = next((g for g in found if _shared([*g, term], whole)), None)
        if joined is None:
            found.append([term])
        else:
            joined.append(term)
    return [*found, others] if others else found


def _shared(group: list[Term], whole: _Whole) -> tuple[Factor, ...]:
    """The factors with a summed index that all terms have, where what is left of them together has not every
    index."""
    counts = Counter(_varying(group[0], whole))
    for term in group[1:]:
        counts &= Counter(_varying(term, whole))
    shared = tuple(counts.elements())
    return () if whole.fills(total([_without(t, shared) for t in group])) else shared


def _varying(term: Term, whole: _Whole) -> tuple[Factor, ...]:
    return tuple(f for f in factors(term.expr) if whole.over & set(index_names(f.expr)))


def _without(term: Term, shared: tuple[Factor, ...]) -> Term:
    left = Counter(factors(term.expr)) - Counter(shared)
    body = product([f for f in left.elements() if f.expr != MINUS_ONE])
    signs = sum(f.expr == MINUS_ONE for f in left.elements())
    return Term(body, term.negative != (signs % 2 == 1))


def _together(group: list[Term], whole: _Whole) -> Expr:
    """The sum of a group as a product, where its terms share factors."""
    if len(group) == 1:
        return negated(group[0].expr) if group[0].negative else group[0].expr
    shared = _shared(group, whole)
    if not shared:
        return total(group)
    return product([*shared, Factor(total([_without(t, shared) for t in group]))])


def _guarded(part: Einsum, bodies: list[tuple[Factor, ...]], presence: Presence) -> Einsum:
    """A part that exists only where all others do."""
    needed = [f.expr for body in bodies for f in body]
    asked = [e for e in needed if not presence.implies(part, replace(part, body=e))]
    return replace(part, where=conjunction((part.where, *(Op("present", (e,)) for e in asked))))
