"""Sums of tensors at places that other tensors hold, by operations of torch, which have derivatives of their
own.

    g[place[b,j], d] += a[b,j,d]

What a backward pass sends to the places of a table (`differentiation/reverse.py`) ends so: a cascade of
nothing but such statements. The result has the same bits every time.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.expr import Expr, IndexVar, Read

Tensors = Mapping[str, Tensor]
Sizes = Mapping[str, int]


def send(cascade: Cascade, given: Tensors, sizes: Sizes) -> dict[str, Tensor]:
    """The outputs, laid out as they are declared, of those statements whose tensors are given."""
    found: dict[str, Tensor] = {}
    for statement in cascade.statements:
        assert isinstance(statement, Einsum) and isinstance(statement.body, Read)
        if statement.body.tensor not in given:
            continue
        sent = _sent(statement, given, sizes)
        found[statement.target] = found[statement.target] + sent if statement.target in found else sent
    axes = {o.name: o.axes for o in cascade.outputs}
    return {
        n: t.reshape([prod(sizes[i] for i in axis.indices) for axis in axes[n]]) for n, t in found.items()
    }


def _sent(statement: Einsum, given: Tensors, sizes: Sizes) -> Tensor:
    """One statement's share: of each slot the place is held by a tensor or, where none of these varies with
    it, its own."""
    assert isinstance(statement.body, Read)
    amounts = given[statement.body.tensor]
    dims = [_name(slot) for slot in statement.body.indices]
    varying = dict.fromkeys(
        n for key in statement.keys if isinstance(key, Read) for n in map(_name, key.indices)
    )
    computed = [at for at, key in enumerate(statement.keys) if isinstance(key, Read) or _name(key) in varying]
    plain = [at for at in range(len(statement.keys)) if at not in computed]
    extents = [sizes[d] for d in statement.dims]
    shape = [extents[at] for at in plain]
    order = [*varying, *(_name(statement.keys[at]) for at in plain)]
    amounts = amounts.permute([dims.index(n) for n in order])
    amounts = amounts.reshape(prod(sizes[n] for n in varying), *shape)
    count = prod(extents[at] for at in computed)
    place = amounts.new_zeros([sizes[n] for n in varying], dtype=torch.int64)
    inside = torch.ones_like(place, dtype=torch.bool)
    for at in computed:
        slot = _place(statement.keys[at], tuple(varying), given, sizes, place)
        inside = inside & (slot >= 0) & (slot < extents[at])
        place = place * extents[at] + slot
    place = torch.where(inside, place, count).flatten()  # what has no place goes behind the last
    total = _added(amounts.new_zeros([count + 1, *shape]), place, amounts)[:count]
    total = total.reshape([extents[at] for at in (*computed, *plain)])
    return total.permute([[*computed, *plain].index(at) for at in range(len(extents))])


def _place(key: Expr, varying: tuple[str, ...], given: Tensors, sizes: Sizes, like: Tensor) -> Tensor:
    """Where a slot is, over all that places vary with."""
    if not isinstance(key, Read):
        name = _name(key)
        shape = [sizes[name] if n == name else 1 for n in varying]
        return torch.arange(sizes[name], device=like.device).reshape(shape)
    own = [_name(slot) for slot in key.indices]
    kept = [n for n in varying if n in own]
    held = given[key.tensor].permute([own.index(n) for n in kept])
    return held.reshape([sizes[n] if n in own else 1 for n in varying])


def _added(start: Tensor, place: Tensor, amounts: Tensor) -> Tensor:
    """Rows added at their places, in the order in which they stand: on a GPU by sorting, since ``index_add``
    adds there in any order; a CPU's ``index_put`` does."""
    if start.is_cuda:
        return start.index_put((place,), amounts, accumulate=True)
    return start.index_add(0, place, amounts)


def _name(slot: Expr) -> str:
    assert isinstance(slot, IndexVar)
    return slot.name


__all__ = ["send"]
