"""Reductions over several sequences, in parts that programs of their own compute: `part_reduction`, where it
pays.

    d_slope[h] += dS[b,h,i,j] * (i - j)     in parts [h,b,i], by the kernel of d_Q[b,h,i,d], which has these pairs at hand
    loss += X[b,i,d] ** 2                   in parts [b,i], then [b], since the result keeps nothing to share out
    d_sink[h] += dO[b,h,i,e] * ...          in parts [h,b,i], since heads are few, for programs and for the lanes of a tile

A part is stored, and what combines parts is another kernel: no program adds to what another has written, so
the result has the same bits every time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.expr import Read
from attn_dsl.ir.walk import index_names, walk
from attn_dsl.planning.dependence import Dependence
from attn_dsl.planning.extents import Extents, Length
from attn_dsl.planning.roles import is_feature
from attn_dsl.rewrites.part_reduction import part_reduction


def with_parts(cascade: Cascade, extents: Extents) -> Cascade:
    """The cascade with every reduction in parts that would leave programs without work, or make pairs anew
    that another reduction has."""
    flow = Dependence(cascade)
    pending = {t: kept for t in flow.reductions if (kept := _shares_out(flow, extents, t))}
    pending |= _beside_others(flow, [t for t in flow.reductions if t not in pending])
    order = sorted(flow.in_order(flow.places), key=partial(is_feature, flow))  # features stay innermost
    for tensor, first in pending.items():
        kept = first
        while kept and (found := part_reduction(cascade, (tensor,), kept, tuple(order))) is not None:
            known = {s.target for s in cascade.statements}
            new = next(s.target for s in found.statements if s.target not in known)
            cascade = replace(found, parted=(*cascade.parted, new))
            lengths = [i for i in kept if extents.length(i, _guess(flow, i)) > Length.FEW]
            kept = kept[:-1] if len(lengths) > 1 else ()  # what combines the parts goes through several still
    return cascade


def _shares_out(flow: Dependence, extents: Extents, tensor: str) -> tuple[str, ...]:
    """The indices that the parts of a result keep that leaves too little to programs: one with no sequence
    but short ones, and of features one at most; and a sum along diagonals, such as the gradient of a table of
    distances, which sums a batch as well."""
    statement = _over_sequences(flow, tensor)
    if statement is None:
        return ()
    over, own = flow.in_order(_sequences(flow, statement.over)), _sequences(flow, statement.dims)
    if len(statement.dims) - len(own) < 2 and not _is_folded(flow, tensor, over):
        layouts = _layouts(flow, tensor)
        kept = over if any({*statement.dims, *over} < dims for dims in layouts) else over[:-1]
        while kept and not any({*own, *kept} <= dims for dims in layouts):
            kept = kept[:-1]  # parts over two lengths would be pairs
        if kept and all(extents.length(i, _guess(flow, i)) <= Length.FEW for i in own):
            return kept
    along = _diagonals(statement, {*statement.dims}, {*over})
    return tuple(i for i in over if i not in along) if along else ()


def _is_folded(flow: Dependence, tensor: str, over: tuple[str, ...]) -> bool:
    """Whether a reduction and another over the same sequences follow one another, as a softmax's sum does its
    maximum: they have one loop."""
    made_of = flow.ancestors(tensor)
    return any(
        (t in made_of or tensor in flow.ancestors(t)) and flow.over(t) & {*over} for t in flow.reductions
    )


def _layouts(flow: Dependence, tensor: str) -> list[set[str]]:
    """The indices of each input that a tensor is made of."""
    made_of = flow.ancestors(tensor)
    return [{*i.dims} for i in flow.cascade.inputs if i.name in made_of]


def _guess(flow: Dependence, index: str) -> Length:
    """The class of an extent that is not known: heads stand before the positions that they are heads of, and
    their value means nothing."""
    layouts = ([i for a in t.axes for i in a.indices] for t in flow.cascade.inputs)
    sequences = [_sequences(flow, dims) for dims in layouts if index in dims]
    before = any(dims[-1] != index for dims in sequences if index in dims)
    return Length.FEW if before and index not in flow.positional else Length.MANY


def _diagonals(statement: Einsum, kept: set[str], over: set[str]) -> set[str]:
    """The reduced indices that stand in a place with one that is kept: ``K[b, n - i, d]``."""
    slots = (set(index_names(s)) for n in walk(statement.body) if isinstance(n, Read) for s in n.indices)
    return {i for names in slots if names & kept for i in names & over}


def _beside_others(flow: Dependence, tensors: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The indices that the parts of results keep which other kernels can compute, where none of the results'
    own is what a kernel tiles."""
    found = {t: kept for t in tensors if (kept := _beside_other(flow, t))}
    others = [t for t in tensors if t not in found]
    tiled = {i for t in others for i in (*_sequences(flow, flow.over(t)), *_rows(flow, t))}
    return {t: kept for t, kept in found.items() if not tiled & {*flow.dims(t)}}


def _beside_other(flow: Dependence, tensor: str) -> tuple[str, ...]:
    """What a part keeps beside the result's own indices so that the kernel of another reduction may compute
    it, of which a result is no smaller; of such kernels the first."""
    statement = _over_sequences(flow, tensor)
    if statement is None:
        return ()
    own, over = {*_sequences(flow, statement.dims)}, {*_sequences(flow, statement.over)}
    for other in flow.reductions:
        if other == tensor or tensor in flow.ancestors(other):
            continue
        kept, streamed = {*_sequences(flow, flow.dims(other))}, {*_sequences(flow, flow.over(other))}
        rest = kept - own
        fits = {*statement.dims} | rest <= {*flow.dims(other)}
        if own <= kept and rest and rest <= over and streamed and streamed == over - rest and fits:
            return flow.in_order(rest)
    return ()


def _over_sequences(flow: Dependence, tensor: str) -> Einsum | None:
    """The first contribution that reduces a sequence."""
    parts = (s for s in flow.by_target[tensor] if isinstance(s, Einsum) and not s.is_keyed)
    return next((s for s in parts if _sequences(flow, s.over)), None)


def _rows(flow: Dependence, tensor: str) -> tuple[str, ...]:
    """The sequences that a result keeps and no operand of its stream has."""
    streams = {*_sequences(flow, flow.over(tensor))}
    carried = {i for _, indices in flow.operands if indices & streams for i in indices}
    return tuple(i for i in _sequences(flow, flow.dims(tensor)) if i not in carried) if streams else ()


def _sequences(flow: Dependence, indices: Iterable[str]) -> tuple[str, ...]:
    return tuple(i for i in indices if not is_feature(flow, i))


__all__ = ["with_parts"]
