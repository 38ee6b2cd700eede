"""Sums within tiles have indices of their own, where they are read at places that speak of these.

    Kc[j,d] += W[t] * K[j + t,d]            Kc[j,d] += W[t_1] * K[j + t_1,d]
    Z[i,j]  += taps[t] * S[i,j - t]   ->    Z[i,j]  += taps[t] * S[i,j - t]

S[i,j] is made of Kc[j,d], so Z needs Kc at j - t: for each t of its own a sum over another. Both are lanes of one tile, and
a tile has an axis for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from attn_dsl.ir.cascade import Cascade, Einsum, Index, Statement
from attn_dsl.ir.expr import IndexVar, Read, SizeOf
from attn_dsl.ir.walk import index_names, substitute, walk
from attn_dsl.planning.dependence import Dependence
from attn_dsl.planning.roles import Roles
from attn_dsl.rewrites.definitions import map_expressions


def with_own_indices(cascade: Cascade, flow: Dependence, roles: Roles) -> Cascade:
    """The cascade in which no sum that is computed within tiles is read at an expression of an index that it sums."""
    captured = _captured(flow, roles)
    if not captured:
        return cascade
    taken = {i.name for i in cascade.indices}
    indices = list(cascade.indices)
    own: dict[str, dict[str, str]] = {}
    for tensor, names in captured.items():
        own[tensor] = {}
        for name in sorted(names):
            number = 1
            while f"{name}_{number}" in taken:
                number += 1
            own[tensor][name] = fresh = f"{name}_{number}"
            taken.add(fresh)
            indices.append(Index(fresh, SizeOf(name), cascade.index(name).limit))
    statements = tuple(
        _renamed(s, own[s.target]) if s.target in own and isinstance(s, Einsum) else s
        for s in cascade.statements
    )
    return replace(cascade, indices=tuple(indices), statements=statements)


def _renamed(statement: Einsum, names: dict[str, str]) -> Statement:
    values = {old: IndexVar(new) for old, new in names.items()}
    moved = map_expressions(statement, lambda expr: substitute(expr, values))
    assert isinstance(moved, Einsum)
    return replace(moved, over=tuple(names.get(i, i) for i in statement.over))


def _captured(flow: Dependence, roles: Roles) -> dict[str, set[str]]:
    """Of each sum within tiles, the indices it sums that the places speak of at which it is needed."""
    spoken: dict[str, dict[str, set[str]]] = {
        t: {d: {d} for d in flow.dims(t)} for t in flow.by_target if t in flow.needed
    }
    found: dict[str, set[str]] = {}
    for user in reversed(
        [t for t in flow.by_target if t in flow.needed]
    ):  # who reads stands behind what is read
        for read in _reads(flow, user):
            own = spoken.get(read.tensor)
            if own is None or read.tensor in roles.streamed:
                continue
            for dim, slot in zip(flow.dims(read.tensor), read.indices, strict=True):
                for name in index_names(slot):
                    own[dim] |= spoken[user].get(name, {name})
    for tensor, dims in spoken.items():
        if tensor not in roles.streamed:
            names = set[str]().union(*dims.values()) & flow.over(tensor)
            if names:
                found[tensor] = names
    return found


def _reads(flow: Dependence, tensor: str) -> Iterator[Read]:
    for statement in flow.by_target[tensor]:
        for expr in flow.evaluated(statement):
            yield from (node for node in walk(expr) if isinstance(node, Read))


__all__ = ["with_own_indices"]
