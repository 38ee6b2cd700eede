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


# Of definitions inside one another, and of factors, that are looked at to free one.
_DEEPEST = 40
_MOST_FACTORS = 64


def split(expr: Expr, invariant: Callable[[Expr], bool], definitions: Definitions) -> Factoring:
    """Part the factors of a body. A definition is looked through only where that frees a factor."""
    return _Splitting(invariant, definitions).split(expr)


class _Splitting:
    """The parting of one body; each definition behind it is parted once."""

    def __init__(self, invariant: Callable[[Expr], bool], definitions: Definitions) -> None:
        self._invariant = invariant
        self._definitions = definitions
        self._known: dict[str, Factoring] = {}
        self._depth = 0

    def split(self, expr: Expr) -> Factoring:
        result = Factoring()
        for factor in factors(expr):
            result += self._factor(factor)
        return result

    def _factor(self, factor: Factor) -> Factoring:
        if self._invariant(factor.expr):
            return Factoring(kept=(factor,)) if factor.expr == ONE else Factoring(hoisted=(factor,))
        statement = self._definitions.pointwise(factor.expr)
        inner = Factoring() if statement is None else self._behind(statement)
        if not inner.hoisted or len(inner.hoisted) + len(inner.kept) > _MOST_FACTORS:
            return Factoring(kept=(factor,))
        if factor.inverted:
            return Factoring(invert(inner.hoisted), invert(inner.kept), inner.guards)
        return inner

    def _behind(self, statement: Einsum) -> Factoring:
        """The factors of a definition, under its guard."""
        if statement.target not in self._known:
            self._depth += 1
            inner = self.split(statement.body) if self._depth <= _DEEPEST else Factoring()
            self._depth -= 1
            guards = inner.guards + (() if statement.where is None else (statement.where,))
            self._known[statement.target] = Factoring(inner.hoisted, inner.kept, tuple(dict.fromkeys(guards)))
        return self._known[statement.target]


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
