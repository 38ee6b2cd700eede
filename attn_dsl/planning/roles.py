"""Which part each index plays in a kernel.

    program   one value a program: batch, heads
    row       tiled over programs: the query positions of a forward kernel
    stream    tiled over a loop inside a program: the key positions
    whole     held entirely by a tile, its extent known at code generation: features

Nothing is named in advance. A reduction whose result carries an index w, and which is consumed by a reduction
over w, is evaluated anew inside the loop over w: what it reduces must be whole (the features of Q K^T). Not
so where the index is itself a sequence with reductions inside (the keys, where the output is projected): then
the result is stored, and the next reduction is another kernel. The reduced indices that are left are streams.
What the results of a stream kernel keep is whole where only the streamed operands carry it (the features of
V), a row where they do not carry it, and a program index otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attn_dsl.ir.cascade import Axis, Einsum, Input
from attn_dsl.ir.expr import SizeOf
from attn_dsl.ir.walk import index_names, walk
from attn_dsl.planning.comparing import compared
from attn_dsl.planning.dependence import Dependence
from attn_dsl.planning.extents import Extents, Length, like


@dataclass(frozen=True, slots=True)
class Roles:
    """The parts that hold for a whole cascade. ``streamed``: the reductions that need a loop, or are
    stored."""

    whole: frozenset[str]
    streams: frozenset[str]
    streamed: tuple[str, ...]


def assign_roles(flow: Dependence, extents: Extents) -> Roles:
    """Decide which reduced indices are whole and which are streamed."""
    reduced = {i for r in flow.reductions for i in flow.over(r)}
    stored = compared(flow) | {*flow.cascade.parted}
    nested = {z: _nested_in(flow, z, stored) for z in reduced}
    holding = {w for outer in nested.values() for w in outer}
    whole: set[str] = set()
    projected: set[str] = set()
    for z, outer in nested.items():
        features = {w for w in outer if is_feature(flow, w) and not is_feature(flow, z)}
        whole |= features  # a norm over the features of an output does not make its keys whole
        if _is_projected_beside(flow, z, outer):
            projected.add(z)
            continue
        if outer - features and _fits_a_tile(flow, extents, z, z in holding | flow.positional):
            whole.add(z)
    streams = reduced - whole
    streamed = tuple(r for r in flow.reductions if flow.over(r) & streams)
    whole |= _value_features(flow, streamed, streams) - projected
    streams -= whole
    streamed = tuple(r for r in flow.reductions if r in stored or (r in streamed and flow.over(r) & streams))
    return Roles(frozenset(whole), frozenset(streams), streamed)


def _is_projected_beside(flow: Dependence, z: str, outer: set[str]) -> bool:
    """Whether features are made of features, for elements of a sequence that some reduction goes through:
    each tile of its rows would make them anew, so they are stored."""
    if not is_feature(flow, z) or not any(is_feature(flow, w) for w in outer):
        return False
    made = [r for r in flow.reductions if z in flow.over(r)]
    through = [(r, {d for d in flow.dims(r) if not is_feature(flow, d)}) for r in made]
    return any(
        seq & flow.over(q) and r in flow.ancestors(q) for r, seq in through for q in flow.reductions if q != r
    )


def _fits_a_tile(flow: Dependence, extents: Extents, z: str, holds: bool) -> bool:
    """Whether a tile is to hold an index, so that what is reduced over it is computed anew in the loop that
    uses it, and not stored. Features are held, and a sequence that holds reductions itself (``holds``) is
    not; unless it is short, such as the heads, and what would be stored has two lengths."""
    if _lies_innermost(flow, z):
        return True
    if not (holds and _is_sequence(flow, z)):
        return extents.length(z, Length.SOME) < Length.MANY
    if extents.length(z, Length.MANY) > Length.FEW:
        return False
    stored = (r for r in flow.reductions if z in flow.over(r))
    return any(is_of_pairs(flow, extents, r) for r in stored)


def is_of_pairs(flow: Dependence, extents: Extents, tensor: str) -> bool:
    """Whether a tensor has a length more than any argument or result: to store it takes memory of another
    order."""
    sequences = {d for d in flow.dims(tensor) if _is_sequence(flow, d)}
    tensors = (*flow.cascade.inputs, *flow.cascade.outputs)
    further = [sequences - {i for a in t.axes for i in a.indices} for t in tensors]
    return all(further) and all(
        any(extents.length(d, Length.MANY) > Length.FEW for d in flow.in_order(dims)) for dims in further
    )


def _is_sequence(flow: Dependence, z: str) -> bool:
    """Whether the arguments give an extent, and it does not lie innermost."""
    if _lies_innermost(flow, z):
        return False
    size = next((i.size for i in flow.cascade.indices if i.name == z), None)
    return size is None or any(
        isinstance(n, SizeOf) and not _lies_innermost(flow, n.index) for n in walk(size)
    )


def _nested_in(flow: Dependence, z: str, stored: frozenset[str]) -> set[str]:
    """The indices w such that a reduction over z is consumed, at every w, by a reduction over w."""
    outer: set[str] = set()
    for inner in flow.reductions:
        if z not in flow.over(inner) or inner in stored:
            continue
        for consumer in flow.consumers(inner):
            if consumer in flow.cascade.parted and _is_small(flow, inner):
                continue  # a kernel of its own, which reads what is stored
            outer |= (flow.over(consumer) & set(flow.dims(inner))) - flow.over(inner)
    return outer


def _is_small(flow: Dependence, tensor: str) -> bool:
    """Whether a result is no larger than an input that it is made of."""
    dims, made_of = {*flow.dims(tensor)}, flow.ancestors(tensor)
    return any(dims <= {*i.dims} for i in flow.cascade.inputs if i.name in made_of)


def is_feature(flow: Dependence, index: str) -> bool:
    """Whether an index stands innermost in every argument and result that has it (but for weights of these,
    such as the taps of a convolution), and is only summed over: how features are laid out."""
    if not _lies_innermost(flow, index):
        return False
    kinds = {s.reduce for s in flow.cascade.statements if isinstance(s, Einsum) and index in s.over}
    return all(reduce is not None and reduce.rule.is_additive for reduce in kinds)


def _lies_innermost(flow: Dependence, index: str) -> bool:
    weights = [i for i in flow.cascade.inputs if _is_weight(flow, i.name) or _is_matrix(flow, i)]
    laid_out_alike = {w.axes for w in weights}  # such as their gradients
    layouts = [
        *(i for i in flow.cascade.inputs if i not in weights),
        *(o for o in flow.cascade.outputs if o.axes not in laid_out_alike),
    ]
    carrying = [t.axes for t in layouts if any(index in a.indices for a in t.axes)]
    if (other := like(flow.cascade, index)) is not None:
        return _lies_innermost(flow, other)
    return bool(carrying) and all(axes[-1].indices == (index,) for axes in carrying)


def _is_weight(flow: Dependence, tensor: str) -> bool:
    """Whether, wherever the input is read, some other operand varies with all that it varies with, and
    more."""
    mine = [indices for name, indices in flow.operands if name == tensor]
    return bool(mine) and all(any(m < other for _, other in flow.operands) for m in mine)


def _is_matrix(flow: Dependence, tensor: Input) -> bool:
    """Whether the input leads from features to features, as a projection does: both of its innermost indices
    lie innermost wherever else they are, and somewhere beside what the input does not have, of which they are
    features (as tokens are not in a number for each)."""
    others = [t.axes for t in (*flow.cascade.inputs, *flow.cascade.outputs) if t.axes != tensor.axes]
    own = {i for axis in tensor.axes for i in axis.indices}

    def is_of_features(axis: Axis) -> bool:
        having = [axes for axes in others if any({*axis.indices} & {*a.indices} for a in axes)]
        innermost = all(axes[-1].indices == axis.indices for axes in having)
        return innermost and any({i for a in axes for i in a.indices} - own for axes in having)

    return len(tensor.axes) > 1 and all(is_of_features(axis) for axis in tensor.axes[-2:])


def _stream_operands(flow: Dependence, streams: set[str] | frozenset[str]) -> list[frozenset[str]]:
    return [indices for _, indices in flow.operands if indices & streams]


def _value_features(flow: Dependence, streamed: Iterable[str], streams: set[str]) -> set[str]:
    """Kept indices that only streamed operands carry, such as the features of V."""
    features: set[str] = set()
    for target in streamed:
        kept = [d for d in flow.dims(target) if d not in streams]
        own = [indices for name, indices in flow.operands if name in flow.ancestors(target)]
        streamed_operands = [indices for indices in own if indices & flow.over(target)]
        # A weight of a streamed operand (the taps of a convolution, a scale for each feature) is no row's.
        weights = [x for x in own if any(x <= s for s in streamed_operands)]
        row_side = {d for indices in own if indices not in weights for d in indices}
        lone = [d for d in kept if d not in row_side and any(d in dims for dims in own)]
        sure = [d for d in lone if is_feature(flow, d)]
        features |= set(sure)
        if any(d in row_side for d in kept if d not in sure):
            features |= {d for d in lone if d not in flow.positional and _one_side(flow, d, target)}
    return features


def _one_side(flow: Dependence, index: str, target: str) -> bool:
    """Whether the index appears in the target but in no other reduction over the same stream."""
    others = [r for r in flow.reductions if r != target and flow.over(r) == flow.over(target)]
    inner = [r for r in flow.sources(target) if r in flow.by_target and r not in others]
    return not any(index in flow.dims(r) for r in (*others, *inner))


def split_rows(
    flow: Dependence, extents: Extents, kept: tuple[str, ...], streams: frozenset[str], whole: frozenset[str]
) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Part what a kernel's results keep into program and row indices, both in the order of ``kept``; and
    whether there is one query, so that the rows are few: the heads that share its keys."""
    operands = [d for d in _stream_operands(flow, streams) if d & whole]
    operands = operands or _stream_operands(flow, streams)
    carried = {i for dims in operands for i in dims}
    free = [k for k in kept if k not in carried]
    if not free:
        some = [k for k in kept if any(k not in dims for dims in operands)]
        free = ([k for k in some if k in flow.positional] or some or list(kept))[-1:]
    rows = set(_innermost_axis(flow, free)) | {k for k in free if _meets_stream(flow, k, streams)}
    few = _is_one(flow, extents, rows)
    others = [k for k in free if k not in rows]
    if few and others and not _is_one(flow, extents, others):
        rows = {*others}
    return tuple(k for k in kept if k not in rows), tuple(k for k in kept if k in rows), few


def _is_one(flow: Dependence, extents: Extents, indices: Iterable[str]) -> bool:
    """Whether there is one element of these indices, as there is one query in decoding."""
    return all(extents.length(i, Length.MANY) == Length.ONE for i in flow.in_order(indices))


def _innermost_axis(flow: Dependence, candidates: list[str]) -> tuple[str, ...]:
    """The candidates that share the innermost dimension, among those of the first layout that has any."""
    for tensor in (*flow.cascade.inputs, *flow.cascade.outputs):
        axes = [a.indices for a in tensor.axes if set(a.indices) & set(candidates)]
        if axes and {i for a in axes for i in a} >= set(candidates):
            return tuple(i for i in axes[-1] if i in candidates)
    return tuple(candidates[-1:])


def _meets_stream(flow: Dependence, index: str, streams: frozenset[str]) -> bool:
    """Whether a predicate compares the index with a stream: then tiling both saves work."""
    for statement in flow.cascade.statements:
        if isinstance(statement, Einsum) and statement.where is not None:
            names = index_names(statement.where)
            plain = index in flow.positional and any(s in flow.positional for s in streams)
            if plain and index in names and any(s in names for s in streams):
                return True
    return False
