"""Guards without the conditions that go without saying.

    O[i] += exp(S[i,j] - M[i])  where j <= i  and  some k has (k <= i)

The element at hand is itself one of those that M has met, so that M exists need not be asked. What remains of
``present:T`` in a guard is a true dependence on T.
"""

from __future__ import annotations

from attn_dsl.analysis.presence import PRESENT, conjunction, conjuncts, disjunction, guard
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.expr import Expr, IndexVar, Op, Read


class Guards:
    """The guards of one cascade."""

    def __init__(self, cascade: Cascade) -> None:
        self._cascade = cascade
        self._found: dict[Einsum, Expr] = {}

    def of(self, part: Einsum) -> Expr:
        """Where the elements of a contribution exist, as a total predicate."""
        if part not in self._found:
            self._found[part] = self.without_implied(guard(part, self._cascade), frozenset(part.over))
        return self._found[part]

    def without_implied(self, expr: Expr, over: frozenset[str], context: tuple[Expr, ...] = ()) -> Expr:
        """The guard of an element that lies along ``over``; ``context``: what else is known to hold."""
        parts = conjuncts(expr)
        kept: list[Expr] = []
        for at, part in enumerate(parts):
            others = (*context, *kept, *parts[at + 1 :])
            if isinstance(part, Op) and part.name == "or":
                part = disjunction(*(self.without_implied(arm, over, others) for arm in part.args))
            elif self._implied(part, (*context, *(p for p in parts if p is not part)), over):
                continue
            kept.append(part)
        return conjunction(*kept)

    def _implied(self, condition: Expr, known: tuple[Expr, ...], over: frozenset[str]) -> bool:
        if not isinstance(condition, Read) or not condition.tensor.startswith(PRESENT):
            return False
        earlier = [
            s for s in self._cascade.definitions(condition.tensor.removeprefix(PRESENT))
            if isinstance(s, Einsum) and condition.indices == tuple(IndexVar(d) for d in s.dims)
        ]  # fmt: skip
        return any(self._accompanies(part, known, over) for part in earlier)

    def _accompanies(self, earlier: Einsum, known: tuple[Expr, ...], over: frozenset[str]) -> bool:
        """Whether the earlier contribution has met the element at hand."""
        if not over.issuperset(earlier.over):
            return False
        return all(n in known or self._implied(n, known, over) for n in conjuncts(self.of(earlier)))
