"""Distribute a sum over an addition whose terms have normalisers of their own.

    O[i,e] += (P1[i,j] - c * P2[i,j]) * V[j,e]     ->     O_1[i,e] += P1[i,j] * V[j,e]
                                                          O_2[i,e] += c * P2[i,j] * V[j,e]
                                                          O[i,e] = O_1[i,e] - O_2[i,e]

Each part can then be hoisted from. A sum is absent where either term is, so the terms must exist at the
same elements, which is proved from their guards; where it is not, the statement stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from attn_dsl.ir.cascade import Cascade, Einsum, Reduction, Statement
from attn_dsl.ir.expr import Expr, IndexVar
from attn_dsl.rewrites.algebra import Factor, Term, conjunction, factors, opposite, product, terms, total
from attn_dsl.rewrites.definitions import (
    Definitions,
    Replacements,
    fresh_name,
    whole_read,
)
from attn_dsl.rewrites.factoring import blocking, invariant_in, split
from attn_dsl.rewrites.presence import Presence


@dataclass(frozen=True, slots=True)
class _Expansion:
    """A body ``rest * (terms)``, the terms in groups with the same normalisers."""

    rest: tuple[Factor, ...]
    groups: tuple[tuple[Term, ...], ...]
    guards: tuple[Expr, ...]


def distribute(cascade: Cascade) -> Cascade:
    """Distribute every sum where that frees factors which depend on reductions over the same indices."""
    definitions = Definitions(cascade)
    presence = Presence(cascade)
    taken: set[str] = set()

    def rule(group: tuple[Statement, ...]) -> Replacements:
        return tuple(_replacement(cascade, definitions, presence, s, len(group), taken) for s in group)

    return definitions.replaced(rule)


def _replacement(
    cascade: Cascade,
    definitions: Definitions,
    presence: Presence,
    statement: Statement,
    contributions: int,
    taken: set[str],
) -> tuple[Statement, ...]:
    if not isinstance(statement, Einsum) or statement.reduce is None or not statement.over:
        return (statement,)
    if not statement.reduce.rule.is_additive:
        return (statement,)
    expansion = _expansion(statement, definitions)
    if expansion is None:
        return (statement,)
    parts = _parts(cascade, statement, expansion, taken)
    if (statement.reduce is Reduction.MEAN and contributions > 1) or not _exist_together(parts, presence):
        return (statement,)
    taken |= {p.target for p in parts}
    body = total(
        [
            Term(whole_read(p.target, p.dims), _subtracted(g))
            for p, g in zip(parts, expansion.groups, strict=True)
        ]
    )
    keys = tuple(IndexVar(d) for d in statement.dims)
    reduce = None if contributions == 1 else statement.reduce
    return (*parts, replace(statement, keys=keys, reduce=reduce, over=(), body=body, where=None))


def _expansion(statement: Einsum, definitions: Definitions) -> _Expansion | None:
    own = factors(statement.body)
    for k, factor in enumerate(own):
        if factor.inverted:
            continue
        addition, guards = definitions.revealed(factor.expr)
        groups = _grouped(terms(addition), statement, definitions)
        if len(groups) > 1:
            return _Expansion(own[:k] + own[k + 1 :], groups, guards)
    return None


def _grouped(
    parts: tuple[Term, ...], statement: Einsum, definitions: Definitions
) -> tuple[tuple[Term, ...], ...]:
    """The terms by the factors that each could hoist and that depend on reductions over the same indices."""
    groups: dict[frozenset[Factor], list[Term]] = {}
    for term in parts:
        factoring = split(term.expr, invariant_in(statement), definitions)
        key = blocking(factoring.hoisted, statement.over, definitions)
        groups.setdefault(key, []).append(term)
    return tuple(tuple(g) for g in groups.values())


def _parts(cascade: Cascade, statement: Einsum, expansion: _Expansion, taken: set[str]) -> tuple[Einsum, ...]:
    parts: list[Einsum] = []
    names = set(taken)
    for number, group in enumerate(expansion.groups, 1):
        name = fresh_name(cascade, f"{statement.target}_{number}", names)
        names.add(name)
        addition = total(opposite(group) if _subtracted(group) else group)
        body = product((*factors(addition), *expansion.rest))
        where = conjunction((statement.where, *expansion.guards))
        parts.append(replace(statement, target=name, body=body, where=where))
    return tuple(parts)


def _subtracted(group: tuple[Term, ...]) -> bool:
    return all(term.negative for term in group)


def _exist_together(parts: tuple[Einsum, ...], presence: Presence) -> bool:
    first, *others = parts
    return all(presence.implies(first, o) and presence.implies(o, first) for o in others)
