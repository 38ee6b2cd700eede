"""One more index in front: a mechanism mapped over slices of some of its inputs is a mechanism again.

    O[b,i,e] += P[b,i,j] * V[b,j,e]        with Q and V in slices, becomes
    O[v,b,i,e] += P[v,b,i,j] * V[v,b,j,e]

Every statement gets the index, so that the cascade falls into the same kernels as before, with one batch
index more; inputs that are the same for all slices are read without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from attn_dsl.ir.cascade import Axis, Cascade, Einsum, Index, Statement
from attn_dsl.ir.expr import Expr, IndexVar, Member, Read
from attn_dsl.ir.walk import transform
from attn_dsl.rewrites.definitions import fresh_name


@dataclass(frozen=True, slots=True)
class Batched:
    """A cascade over slices along ``index``."""

    cascade: Cascade
    index: str


def batched(cascade: Cascade, sliced: Iterable[str]) -> Batched:
    """The cascade over slices of inputs: their layouts, and those of all that is computed, begin with a
    further index."""
    index = fresh_name(cascade, "v")
    varying = {*sliced, *(s.target for s in cascade.statements)}
    slot = IndexVar(index)

    def rule(node: Expr) -> Expr:
        if isinstance(node, (Read, Member)) and node.tensor in varying:
            return replace(node, indices=(slot, *node.indices))
        return node

    def statement(item: Statement) -> Statement:
        body = transform(item.body, rule)
        where = None if item.where is None else transform(item.where, rule)
        dims = (index, *item.dims)
        if isinstance(item, Einsum):
            keys = (slot, *(transform(k, rule) for k in item.keys))
            return replace(item, dims=dims, keys=keys, body=body, where=where)
        count = None if item.count is None else transform(item.count, rule)
        return replace(item, dims=dims, body=body, where=where, count=count)

    limits = (
        replace(i, limit=None if i.limit is None else transform(i.limit, rule)) for i in cascade.indices
    )
    front = Axis((index,))
    made = replace(
        cascade,
        indices=(Index(index), *limits),
        inputs=tuple(
            replace(i, axes=(front, *i.axes)) if i.name in varying else i for i in cascade.inputs
        ),
        statements=tuple(map(statement, cascade.statements)),
        outputs=tuple(replace(o, axes=(front, *o.axes)) for o in cascade.outputs),
        masks=(),
    )  # fmt: skip
    return Batched(made, index)
