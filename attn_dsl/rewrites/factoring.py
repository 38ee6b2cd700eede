"""Which factors of a body do not vary over the reduced indices, pointwise definitions looked through.

O[i,e] += P[i,j] * V[j,e]  with  P[i,j] = w[i,j] / l[i] where j <= i
factors:  w[i,j] (kept),  V[j,e] (kept),  1/l[i] (hoisted),  guard j <= i
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from attn_dsl.ir.cascade import Einsum
from attn_dsl.ir.expr import Expr, IndexVar
from attn_dsl.ir.walk import index_names, tensors_read
from attn_dsl.rewrites.algebra import ONE, Factor, conjunction, factors, invert, product
from attn_dsl.rewrites.definitions import Definitions, statement_reads


@dataclass(frozen=True, slots=True)
class Factoring:
    """A product parted in two. ``guards``: of the definitions that were looked through, and which the kept
    part must be put under."""

    hoisted: tuple[Factor, ...] = ()
    kept: tuple[Factor, ...] = ()
    guards: tuple[Expr, ...] = field(default=())

    def __add__(self, other: Factoring) -> Factoring:
        return Factoring(self.hoisted + other.hoisted, self.kept + other.kept, self.guards + other.guards)


def invariant_in(statement: Einsum) -> Callable[[Expr], bool]:
    """Whether an expression has one value for each element of the target: it may stand outside the
    reduction."""
    own = {d for d, key in zip(statement.dims, statement.keys, strict=True) if key == IndexVar(d)}
    own -= set(statement.over)
    return lambda expr: own.issuperset(index_names(expr))


def split(expr: Expr, invariant: Callable[[Expr], bool], definitions: Definitions) -> Factoring:
    """Part the factors of a body. A definition is looked through only where that frees a factor."""
    result = Factoring()
    for factor in factors(expr):
        result += _split_factor(factor, invariant, definitions)
    return result


def _split_factor(factor: Factor, invariant: Callable[[Expr], bool], definitions: Definitions) -> Factoring:
    if invariant(factor.expr):
        return Factoring(kept=(factor,)) if factor.expr == ONE else Factoring(hoisted=(factor,))
    statement = definitions.pointwise(factor.expr)
    if statement is not None:
        inner = split(statement.body, invariant, definitions)
        if inner.hoisted:
            guards = inner.guards + (() if statement.where is None else (statement.where,))
            if factor.inverted:
                return Factoring(invert(inner.hoisted), invert(inner.kept), guards)
            return Factoring(inner.hoisted, inner.kept, guards)
    return Factoring(kept=(factor,))


def rebuilt(statement: Einsum, target: str, parts: tuple[Factor, ...], guards: tuple[Expr, ...]) -> Einsum:
    """The reduction of a product, under the statement's guard and those of what it looks through."""
    return Einsum(
        target,
        statement.dims,
        statement.keys,
        statement.reduce,
        statement.over,
        product(parts),
        conjunction((statement.where, *guards)),
        statement.span,
    )


def reduced_from(tensor: str, over: frozenset[str], definitions: Definitions) -> bool:
    """Whether a tensor depends on a reduction over one of these indices: what reads it needs a pass of its
    own, or a fold."""
    pending, seen = [tensor], {tensor}
    while pending:
        for statement in definitions.of(pending.pop()):
            if isinstance(statement, Einsum) and over & set(statement.over):
                return True
            new = statement_reads(statement) - seen
            seen |= new
            pending += new
    return False


def blocking(parts: tuple[Factor, ...], over: tuple[str, ...], definitions: Definitions) -> frozenset[Factor]:
    """The factors that depend on a reduction over the same indices."""
    reduced = frozenset(over)
    return frozenset(
        f for f in parts if any(reduced_from(t, reduced, definitions) for t in tensors_read(f.expr))
    )
