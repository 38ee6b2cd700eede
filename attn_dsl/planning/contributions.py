"""A tensor of several contributions whose loops cross: each has a tensor of its own, and what they give is
combined.

    T[b] += f[b,c]                T_1[b] += f[b,c]          T[b] += T_1[b]
    T[b] += g[b,c,a]        ->    T_2[b] += g[b,c,a]        T[b] += T_2[b]

Loops over the same indices are one loop, and loops over different ones stand beside each other; a loop over
some of another's indices can be neither. What is absent in one contribution is left out, as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from attn_dsl.ir.cascade import Cascade, Einsum, Statement
from attn_dsl.rewrites.definitions import fresh_name, whole_read


def with_own_loops(cascade: Cascade, streams: frozenset[str]) -> Cascade:
    """The cascade in which the loops of each tensor are the same or have nothing in common. ``streams``: the
    indices that loops go through."""
    targets = dict.fromkeys(s.target for s in cascade.statements)
    crossing = {t for t in targets if _cross(cascade.definitions(t), streams)}
    if not crossing:
        return cascade
    statements: list[Statement] = []
    names: set[str] = set()
    for statement in cascade.statements:
        if statement.target not in crossing or not isinstance(statement, Einsum) or not statement.over:
            statements.append(statement)
            continue
        own = fresh_name(cascade, f"{statement.target}_sum", names)
        names.add(own)
        combined = replace(statement, body=whole_read(own, statement.dims), over=(), where=None)
        statements += [replace(statement, target=own), combined]
    return replace(cascade, statements=tuple(statements))


def _cross(parts: Sequence[Statement], streams: frozenset[str]) -> bool:
    if any(not isinstance(p, Einsum) or p.is_keyed for p in parts):
        return False
    loops = [streams & {*p.over} for p in parts if isinstance(p, Einsum)]
    return any(a & b and a != b for a in loops for b in loops)
