"""Whether a reduction has any element, for guards that ask it: found by counting, where its own guard is
known.

A[j] += P[i,j]   where P's normaliser exists at i   <-   it does, if row i has a key
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod

import numpy as np

from attn_dsl.account.counting import TooManyPoints, exists
from attn_dsl.account.values import Array, Facts, grid
from attn_dsl.analysis.logic import PRESENT, TRUE
from attn_dsl.ir.cascade import Einsum
from attn_dsl.ir.expr import Expr, Read
from attn_dsl.ir.walk import transform, walk
from attn_dsl.planning.dependence import Dependence

_MOST_ROWS = 1 << 22


def with_presences(facts: Facts, flow: Dependence, guards: Iterable[Expr]) -> Facts:
    """The facts with the presences that the guards ask for, as far as they can be found out."""
    for guard in guards:
        for tensor in _asked(guard):
            if tensor not in facts.presences:
                facts = _found(facts, flow, tensor)
    return facts


def without_certainties(guard: Expr, facts: Facts) -> Expr:
    """The guard without the presences that hold everywhere."""

    def rule(node: Expr) -> Expr:
        if isinstance(node, Read) and node.tensor.startswith(PRESENT):
            known = facts.presences.get(node.tensor.removeprefix(PRESENT))
            return TRUE if known is not None and bool(known.all()) else node
        return node

    return transform(guard, rule)


def _asked(guard: Expr) -> tuple[str, ...]:
    reads = (n.tensor for n in walk(guard) if isinstance(n, Read) and n.tensor.startswith(PRESENT))
    return tuple(dict.fromkeys(t.removeprefix(PRESENT) for t in reads))


def _found(facts: Facts, flow: Dependence, tensor: str) -> Facts:
    parts = [p for p in flow.by_target[tensor] if isinstance(p, Einsum)]
    guards = [flow.guards.of(p) for p in parts]
    facts = with_presences(facts, flow, guards)
    result: Array = np.zeros((1,) * len(flow.dims(tensor)), dtype=np.bool_)
    for part, guard in zip(parts, guards, strict=True):
        guard = without_certainties(guard, facts)
        if not facts.knows(guard) or part.is_keyed:
            return facts
        indices = (*part.dims, *part.over)
        whole = grid({i: facts.sizes[i] for i in indices})
        if prod(facts.sizes[d] for d in part.dims if d in whole.along(guard)) > _MOST_ROWS:
            return facts
        try:
            some = exists(guard, whole, frozenset(part.over), facts)
        except TooManyPoints:
            return facts
        result = result | some.reshape(some.shape[: len(part.dims)])
    return replace(facts, presences={**facts.presences, tensor: result})
