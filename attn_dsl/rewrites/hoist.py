"""Move factors that do not vary over the reduced indices out of a sum.

    O[i,e] += w[i,j] / l[i] * v[j,e]      ->      O_sum[i,e] += w[i,j] * v[j,e]
                                                  O[i,e] = O_sum[i,e] / l[i]

This is what turns the three-pass softmax into two passes. Where the factor is absent, every element of
the body was absent and so was the sum; now the quotient is: nothing changes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from attn_dsl.ir.cascade import Cascade, Einsum, Reduction, Statement
from attn_dsl.ir.expr import IndexVar
from attn_dsl.ir.walk import tensors_read
from attn_dsl.rewrites.algebra import ONE, Factor, product
from attn_dsl.rewrites.definitions import Definitions, Replacements, fresh_name, unchanged, whole_read
from attn_dsl.rewrites.factoring import Factoring, blocking, invariant_in, rebuilt, split


def hoist(cascade: Cascade) -> Cascade:
    """Hoist out of every sum and mean."""
    definitions = Definitions(cascade)
    taken: set[str] = set()
    return definitions.replaced(lambda group: _hoist_group(cascade, definitions, group, taken))


def _hoist_group(
    cascade: Cascade, definitions: Definitions, group: tuple[Statement, ...], taken: set[str]
) -> Replacements:
    sums = [s for s in group if isinstance(s, Einsum) and s.reduce is not None and s.reduce.rule.is_additive]
    if len(sums) < len(group) or not any(s.over for s in sums) or any(s.is_keyed for s in sums):
        return unchanged(group)  # what is sent to computed places is a result as it stands
    parted = [split(s.body, invariant_in(s), definitions) for s in sums]
    common = _common(parted)
    if common and _worthwhile(common, parted):
        return _hoist_common(cascade, sums, parted, common, taken)
    if len(sums) > 1 and sums[0].reduce is Reduction.SUM:
        return _hoist_apart(cascade, definitions, sums, parted, taken)
    return unchanged(group)


def _common(parted: list[Factoring]) -> tuple[Factor, ...]:
    """The factors every contribution has, in the order of the first."""
    counts = Counter(parted[0].hoisted)
    for factoring in parted[1:]:
        counts &= Counter(factoring.hoisted)
    return tuple(counts.elements())


def _worthwhile(common: tuple[Factor, ...], parted: list[Factoring]) -> bool:
    """A count of elements stays one: what it would leave behind is the sum of 1."""
    return any(p.kept for p in parted) or any(tensors_read(f.expr) for f in common)


def _without(parts: tuple[Factor, ...], gone: tuple[Factor, ...]) -> tuple[Factor, ...]:
    left = Counter(parts) - Counter(gone)
    return tuple(left.elements())


def _hoist_common(
    cascade: Cascade,
    sums: list[Einsum],
    parted: list[Factoring],
    common: tuple[Factor, ...],
    taken: set[str],
) -> Replacements:
    first, last = sums[0], sums[-1]
    assert first.reduce is not None
    name = fresh_name(cascade, f"{first.target}_{first.reduce.rule.word}", taken)
    taken.add(name)
    inner = [
        rebuilt(s, name, p.kept + _without(p.hoisted, common), p.guards)
        for s, p in zip(sums, parted, strict=True)
    ]
    return (*((s,) for s in inner[:-1]), (inner[-1], _scaled(last, name, common, None)))


def _scaled(statement: Einsum, name: str, parts: tuple[Factor, ...], reduce: Reduction | None) -> Einsum:
    """``target = name * parts``, or that as one contribution to the target."""
    keys = tuple(IndexVar(d) for d in statement.dims)
    body = product((Factor(whole_read(name, statement.dims)), *parts))
    return Einsum(statement.target, statement.dims, keys, reduce, (), body, None, statement.span)


def _hoist_apart(
    cascade: Cascade,
    definitions: Definitions,
    sums: list[Einsum],
    parted: list[Factoring],
    taken: set[str],
) -> Replacements:
    """Contributions with normalisers of their own: each is summed first, then scaled, then added.

    ``O += P1 * V1;  O += P2 * V2``  ->  ``O_sum += w1 * V1;  O += O_sum / l1;  ...``

    So is one that then is a sum which is there anyway.
    """
    result: list[tuple[Statement, ...]] = []
    for statement, factoring in zip(sums, parted, strict=True):
        inner = rebuilt(statement, "", factoring.kept, factoring.guards)
        known = factoring.hoisted and _is_computed(inner, definitions)
        if not statement.over or not (known or blocking(factoring.hoisted, statement.over, definitions)):
            result.append((statement,))
            continue
        name = fresh_name(cascade, f"{statement.target}_sum", taken)
        taken.add(name)
        inner = rebuilt(statement, name, factoring.kept or (Factor(ONE),), factoring.guards)
        result.append((inner, _scaled(statement, name, factoring.hoisted, Reduction.SUM)))
    return tuple(result)


def _is_computed(wanted: Einsum, definitions: Definitions) -> bool:
    """Whether another tensor is this sum."""
    return any(replace(s, target="", span=wanted.span) == wanted for s in definitions.cascade.statements)
