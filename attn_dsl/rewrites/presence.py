"""Where an element exists, as a set of conditions, and whether one set implies another.

    w[i,j] = exp(x[i,j] - m[i]) where j <= i;   m[i] max= x[i,j] where j <= i
    w exists where:   j <= i   and   some j has (j <= i)      the second follows from the first

The comparison is structural: equal conditions are recognised, others are taken as unrelated. So
``implies`` may miss an implication but never claims a wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.expr import Default, Expr, Member, Op, Read, Select
from attn_dsl.ir.in_order import InOrder
from attn_dsl.ir.walk import children
from attn_dsl.rewrites.algebra import conjuncts
from attn_dsl.rewrites.definitions import Definitions, pointwise_definition, reads_plainly, whole_read


@dataclass(frozen=True, slots=True)
class Holds:
    """The predicate is certainly true."""

    predicate: Expr


@dataclass(frozen=True, slots=True)
class Exists:
    """The expression itself has a value: for what is not taken apart further."""

    expr: Expr


@dataclass(frozen=True, slots=True)
class Some:
    """One of the contributions has an element along its indices: ``(over, conditions)`` for each."""

    contributions: frozenset[tuple[tuple[str, ...], Conditions]]


Condition: TypeAlias = Holds | Exists | Some
Conditions: TypeAlias = "frozenset[Condition]"
_ALWAYS: Conditions = frozenset()


class Presence:
    """The conditions of existence in one cascade."""

    def __init__(self, cascade: Cascade) -> None:
        self._definitions = Definitions(cascade)
        self._tensors = InOrder(cascade, self._tensor)

    def of_element(self, statement: Einsum) -> Conditions:
        """Where an element of a statement's right-hand side exists."""
        guards = frozenset(Holds(p) for p in conjuncts(statement.where))
        return guards | self.of(statement.body)

    def implies(self, premise: Einsum, conclusion: Einsum) -> bool:
        """Whether an element of the first statement's body exists only where one of the second's does, at
        the same indices."""
        live = frozenset(premise.over) | frozenset(premise.dims)
        conditions = self.of_element(premise)
        return all(_follows(c, conditions, live) for c in self.of_element(conclusion))

    def of(self, expr: Expr) -> Conditions:
        """Where an expression has a value."""
        match expr:
            case Read():
                return self._read(expr)
            case Default(value=value, fallback=fallback):
                always = not self.of(value) or not self.of(fallback)
                return _ALWAYS if always else frozenset({Exists(expr)})
            case Op(name="present"):
                return _ALWAYS
            case Op(name="and" | "or") | Select():
                certain = all(not self.of(child) for child in children(expr))
                return _ALWAYS if certain else frozenset({Exists(expr)})
            case Member():
                return frozenset({Exists(expr)})
            case _:
                return _ALWAYS.union(*(self.of(child) for child in children(expr)))

    def _read(self, read: Read) -> Conditions:
        if not reads_plainly(read, self._definitions.dims(read.tensor)):
            return frozenset({Exists(read)}).union(*(self.of(slot) for slot in read.indices))
        return self._tensors[read.tensor] if self._definitions.meaning(read.tensor) else _ALWAYS

    def _tensor(self, name: str) -> Conditions:
        parts = self._definitions.meaning(name)
        statement = pointwise_definition(parts)
        if statement is not None:
            return self.of_element(statement)
        einsums = [s for s in parts if isinstance(s, Einsum) and not s.is_keyed]
        if len(einsums) < len(parts):
            return frozenset({Exists(whole_read(name, parts[0].dims))})
        contributions = frozenset((s.over, self.of_element(s)) for s in einsums)
        if ((), _ALWAYS) in contributions:
            return _ALWAYS
        return frozenset({Some(contributions)})


def _follows(condition: Condition, known: Conditions, live: frozenset[str]) -> bool:
    """A condition follows if it is known, or if the element at hand is itself the one that must exist."""
    if condition in known:
        return True
    match condition:
        case Some(contributions=contributions):
            return any(
                live.issuperset(over) and all(_follows(c, known, live) for c in conditions)
                for over, conditions in contributions
            )
        case Holds() | Exists():
            return False
