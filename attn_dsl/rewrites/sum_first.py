"""Sum an index that only some factors of a body have before the others.

    G[i] += A[i,e] * B[j,e] * w[i,j]       ->     G_sum[i,j] += A[i,e] * B[j,e]
                                                  G[i] += G_sum[i,j] * w[i,j]

Every pair then costs one product of matrices and one multiplication, where it cost a multiplication for each
feature. This is done only where the new tensor varies with nothing that the other factors do not vary with:
it is never larger than what they range over anyway. Where no product of matrices comes of it, since one
factor has it all (the pairs of a batch, for a table of distances), it must be no larger than one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from attn_dsl.ir.cascade import Cascade, Einsum, Reduction, Statement
from attn_dsl.ir.expr import Expr, IndexVar, Read
from attn_dsl.ir.walk import index_names, walk
from attn_dsl.rewrites.algebra import Factor, conjunction, conjuncts, factors, product
from attn_dsl.rewrites.definitions import Definitions, Replacements, fresh_name, whole_read


def sum_first(cascade: Cascade) -> Cascade:
    """Part every sum over several indices that can be."""
    taken: set[str] = set()

    def rule(group: tuple[Statement, ...]) -> Replacements:
        return tuple(_parted(cascade, s, taken) for s in group)

    return Definitions(cascade).replaced(rule)


def _parted(cascade: Cascade, statement: Statement, taken: set[str]) -> tuple[Statement, ...]:
    if isinstance(statement, Einsum) and statement.reduce is Reduction.SUM:
        for index in statement.over:
            found = _inner(statement, index)
            if found is not None:
                name = fresh_name(cascade, f"{statement.target}_sum", taken)
                taken.add(name)
                return _two(cascade, statement, index, found, name)
    return (statement,)


def _inner(statement: Einsum, index: str) -> tuple[Factor, ...] | None:
    """The factors that have the index, where they may be summed first."""
    parts = factors(statement.body)
    inner = tuple(f for f in parts if index in index_names(f.expr))
    outside = [f.expr for f in parts if f not in inner]
    guards = [c for c in conjuncts(statement.where) if index in index_names(c)]
    others = (_indices(statement.keys if statement.is_keyed else ()) | {*statement.over}) - {index}
    if not inner:
        return None
    kept = _indices(outside)
    needed = _indices([*(f.expr for f in inner), *guards]) - {index}
    filled = any(needed | {index} <= {*index_names(f.expr)} for f in inner)
    ranged = _plain(outside) if filled else kept
    return inner if needed <= ranged and kept & others else None


def _plain(exprs: Sequence[Expr]) -> frozenset[str]:
    """The indices that some tensor has as its own: ``R[h, i - j, d]`` is no larger for its being read at
    pairs."""
    reads = [n for expr in exprs for n in walk(expr) if isinstance(n, Read)]
    return frozenset(slot.name for read in reads for slot in read.indices if isinstance(slot, IndexVar))


def _indices(exprs: Sequence[Expr]) -> frozenset[str]:
    return frozenset(name for expr in exprs for name in index_names(expr))


def _two(
    cascade: Cascade, statement: Einsum, index: str, inner: tuple[Factor, ...], name: str
) -> tuple[Statement, ...]:
    guards = conjuncts(statement.where)
    inside = [c for c in guards if index in index_names(c)]
    found = dict.fromkeys(n for e in (*(f.expr for f in inner), *inside) for n in index_names(e))
    dims = _as_laid_out(cascade, tuple(n for n in found if n != index))
    # What holds of an element of the new tensor as a whole bounds it as well: it is not computed elsewhere.
    shared = [c for c in guards if c not in inside and set(index_names(c)) <= set(dims)]
    first = Einsum(
        name, dims, tuple(IndexVar(d) for d in dims), Reduction.SUM, (index,), product(inner),
        conjunction([*inside, *shared]), statement.span,
    )  # fmt: skip
    rest = tuple(f for f in factors(statement.body) if f not in inner)
    then = replace(
        statement, over=tuple(i for i in statement.over if i != index),
        body=product((Factor(whole_read(name, dims)), *rest)),
        where=conjunction(c for c in guards if c not in inside),
    )  # fmt: skip
    return (first, then)


def _as_laid_out(cascade: Cascade, dims: tuple[str, ...]) -> tuple[str, ...]:
    """The dims in the order of the first tensor that has all of them: features stay innermost, and equal sums
    are equal."""
    tensors = (*(i.dims for i in cascade.inputs), *(s.dims for s in cascade.statements))
    known = next((t for t in tensors if set(dims) <= set(t)), dims)
    return tuple(d for d in known if d in dims)
