"""Cascades to which values are given by an earlier pass: what a derivative of them may still ask.

The statements of what is saved stay, and say what it means. So a derivative goes through them like through
any other: what is saved depends on the inputs, though no kernel computes it here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from attn_dsl.analysis.guards import Guards
from attn_dsl.analysis.logic import PRESENT
from attn_dsl.analysis.presence import total_body
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.walk import tensors_read
from attn_dsl.planning.dependence import Dependence

Presences = tuple[tuple[str, tuple[str, ...]], ...]
"""Tensors of which it is given whether they exist, and the indices that this varies with."""


def presences_read(cascade: Cascade, results: Collection[str]) -> Presences:
    """Those of ``results`` of which the cascade asks whether they exist."""
    flow = Dependence(cascade)
    guards = Guards(cascade, merging=True)
    pending = [o.name for o in cascade.outputs]
    seen: set[str] = set(cascade.saved)
    found: dict[str, None] = {}
    while pending:
        tensor = pending.pop()
        if tensor in seen or tensor not in flow.by_target:
            continue
        seen.add(tensor)
        for part in flow.by_target[tensor]:
            assert isinstance(part, Einsum)
            total = (guards.of(part), guards.shared(total_body(part.body, cascade)))
            read = {t for e in total for t in tensors_read(e)}
            asked = {t.removeprefix(PRESENT) for t in read if t.startswith(PRESENT)} & {*results}
            found |= dict.fromkeys(sorted(asked))
            pending += [t for t in (n.removeprefix(PRESENT) for n in read) if t not in asked]
    return tuple((t, guards.varies_with(t)) for t in found)


def without_saved(cascade: Cascade) -> Cascade:
    """The cascade that computes everything itself."""
    given = tuple(o for o in cascade.outputs if o.name not in cascade.saved)
    return replace(cascade, outputs=given, saved=())


def nothing_given(cascade: Cascade) -> Cascade:
    """The same statements and results, where what was saved is a tensor like any other."""
    return replace(cascade, saved=())
