"""Guards without the conditions that go without saying.

    O[i] += exp(S[i,j] - M[i])  where j <= i  and  some k has (k <= i)

The element at hand is itself one of those that M has met, so that M exists need not be asked. What remains of
``present:T`` in a guard is a true dependence on T.
"""

from __future__ import annotations

from typing import TypeAlias

from attn_dsl.analysis.elimination import Consequences
from attn_dsl.analysis.logic import PRESENT, conjunction, conjuncts, disjunction
from attn_dsl.analysis.presence import guard, presence
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.expr import Const, Expr, IndexVar, Op, Read
from attn_dsl.ir.walk import index_names, transform

_Elements: TypeAlias = frozenset[tuple[frozenset[str], Expr]]


def _used(elements: _Elements) -> set[str]:
    """The indices that what is reduced varies with."""
    return {n for over, where in elements for n in index_names(where) if n not in over}


class Guards:
    """The guards of one cascade. ``merging``: presences that are the same go by one name; else only where
    that is a saved one, since others may be at hand in different kernels."""

    def __init__(self, cascade: Cascade, *, merging: bool = False) -> None:
        self._cascade = cascade
        self._merging = merging
        self._consequences = Consequences(cascade)
        self._found: dict[Einsum, Expr] = {}
        self._first: dict[str, str] = {}
        self._known: dict[str, _Elements | None] = {}
        self._varying: dict[str, tuple[str, ...]] = {}

    def of(self, part: Einsum) -> Expr:
        """Where the elements of a contribution exist, as a total predicate."""
        if part not in self._found:
            whole = self.shared(guard(part, self._cascade))
            asked = self.without_implied(whole, frozenset(part.over))
            self._found[part] = self._consequences.left_out(asked, (*part.dims, *part.over))
        return self._found[part]

    def presence(self, expr: Expr) -> Expr:
        """Where an expression exists, as a total predicate."""
        return self.shared(presence(expr, self._cascade))

    def shared(self, expr: Expr) -> Expr:
        """The predicate with one name for presences that are the same: of the maximum, the normaliser and the
        sum of a softmax, which meet the same elements. They are read at 0 along what they do not vary
        with."""

        def rule(node: Expr) -> Expr:
            if not isinstance(node, Read) or not node.tensor.startswith(PRESENT):
                return node
            tensor = node.tensor.removeprefix(PRESENT)
            first = self.first_alike(tensor)
            if not (self._merging or PRESENT + first in self._cascade.saved):
                first = tensor
            slots = dict(zip(self._dims(tensor), node.indices, strict=True))
            varying = self.varies_with(first)
            at = tuple(slots[d] if d in varying else Const(0) for d in self._dims(first))
            return Read(PRESENT + first, at, node.span)

        return transform(expr, rule)

    def first_alike(self, tensor: str) -> str:
        """The first reduction that exists wherever this one does, and nowhere else."""
        if tensor not in self._first:
            self._first[tensor] = tensor
            mine = self._elements(tensor)
            if mine is not None:
                self._first[tensor] = next(t for t in self._reductions() if self._alike(t, tensor, mine))
        return self._first[tensor]

    def varies_with(self, tensor: str) -> tuple[str, ...]:
        """Those of a reduction's dims that its presence depends on."""
        if tensor not in self._varying:
            elements = self._elements(tensor)
            used = None if elements is None else _used(elements)
            self._varying[tensor] = tuple(d for d in self._dims(tensor) if used is None or d in used)
        return self._varying[tensor]

    def _alike(self, other: str, tensor: str, elements: _Elements) -> bool:
        if other == tensor:
            return True
        fits = _used(elements) <= set(self._dims(other)) <= set(self._dims(tensor))
        return fits and self._elements(other) == elements

    def _reductions(self) -> tuple[str, ...]:
        found = (s for s in self._cascade.statements if isinstance(s, Einsum) and s.reduce is not None)
        return tuple(dict.fromkeys(s.target for s in found))

    def _elements(self, tensor: str) -> _Elements | None:
        """What each contribution reduces, and where it has elements; None where that cannot be compared."""
        if tensor not in self._known:
            self._known[tensor] = self._found_elements(tensor)
        return self._known[tensor]

    def _found_elements(self, tensor: str) -> _Elements | None:
        parts = self._cascade.definitions(tensor)
        plain = [p for p in parts if isinstance(p, Einsum) and p.reduce is not None and not p.is_keyed]
        if len(plain) < len(parts):
            return None
        return frozenset((frozenset(p.over), self.of(p)) for p in plain)

    def _dims(self, tensor: str) -> tuple[str, ...]:
        return self._cascade.definitions(tensor)[0].dims

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
        varying = self.varies_with(condition.tensor.removeprefix(PRESENT))
        earlier = [
            s for s in self._cascade.definitions(condition.tensor.removeprefix(PRESENT))
            if isinstance(s, Einsum) and all(
                slot in (IndexVar(d), Const(0)) if d not in varying else slot == IndexVar(d)
                for slot, d in zip(condition.indices, s.dims, strict=True)
            )
        ]  # fmt: skip
        return any(self._accompanies(part, known, over) for part in earlier)

    def _accompanies(self, earlier: Einsum, known: tuple[Expr, ...], over: frozenset[str]) -> bool:
        """Whether the earlier contribution has met the element at hand."""
        if not over.issuperset(earlier.over):
            return False
        return all(n in known or self._implied(n, known, over) for n in conjuncts(self.of(earlier)))
