"""Ask a condition that does not vary over the reduced indices of a product of matrices after the sum.

    D[j,d] += G[i,j] * Q[i,d]  where K[j,d] > 0      ->      D_sum[j,d] += G[i,j] * Q[i,d]
                                                             D[j,d] = D_sum[j,d]  where K[j,d] > 0

Inside the sum it would be asked of every element of the product (``i``, ``j`` and ``d`` together), which no
matrix unit can do. A condition on what one factor varies with stays: that factor is masked, and whole tiles
are skipped. What else is added to the same tensor is summed under a name of its own too: nothing waits for
anything.
"""

from __future__ import annotations

from dataclasses import replace

from attn_dsl.ir.cascade import Cascade, Einsum, Reduction, Statement
from attn_dsl.ir.expr import Expr, IndexVar
from attn_dsl.ir.walk import index_names
from attn_dsl.rewrites.algebra import conjunction, conjuncts, factors
from attn_dsl.rewrites.definitions import Definitions, Replacements, fresh_name, unchanged, whole_read
from attn_dsl.rewrites.factoring import invariant_in


def hoist_guards(cascade: Cascade) -> Cascade:
    """Part every sum from the conditions that bar it from being a product of matrices."""
    taken: set[str] = set()

    def rule(group: tuple[Statement, ...]) -> Replacements:
        sums = [s for s in group if isinstance(s, Einsum) and s.reduce is Reduction.SUM and not s.is_keyed]
        if len(sums) < len(group) or not any(_outside(s) for s in sums):
            return unchanged(group)
        reduce = None if len(sums) == 1 else Reduction.SUM
        return tuple(_parted(cascade, s, reduce, taken) if s.over else (s,) for s in sums)

    return Definitions(cascade).replaced(rule)


def _parted(
    cascade: Cascade, statement: Einsum, reduce: Reduction | None, taken: set[str]
) -> tuple[Einsum, Einsum]:
    """The sum, without the indices that only the conditions have, and what is asked of it."""
    name = fresh_name(cascade, f"{statement.target}_sum", taken)
    taken.add(name)
    outside = _outside(statement)
    inside = [c for c in conjuncts(statement.where) if c not in outside]
    needed = {n for e in (statement.body, *inside) for n in index_names(e)}
    asked = {n for c in outside for n in index_names(c)}
    dims = tuple(d for d in statement.dims if d in needed or d not in asked)
    keys = tuple(IndexVar(d) for d in dims)
    body = whole_read(name, dims)
    return (
        replace(statement, target=name, dims=dims, keys=keys, where=conjunction(inside)),
        replace(statement, body=body, where=conjunction(outside), reduce=reduce, over=()),
    )


def _outside(statement: Einsum) -> tuple[Expr, ...]:
    """The conditions of which no factor has all indices."""
    varying = [
        i for i in (frozenset(index_names(f.expr)) for f in factors(statement.body)) if i & {*statement.over}
    ]
    if len(varying) < 2:
        return ()
    invariant = invariant_in(statement)
    return tuple(
        c
        for c in conjuncts(statement.where)
        if invariant(c) and not any(i.issuperset(index_names(c)) for i in varying)
    )
