"""Sizes and tensors to draw a mechanism with, where the user gives none.

Lengths are a few times the largest whole param, so that a window shows inside a picture. Integer inputs are
made such that they mean something: what is compared for equality along a sequence (the numbers of packed
documents) ascends, what a tensor is read at stays within its bounds. Whoever draws with them says so
(`Sample.made_up`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.ir.cascade import Cascade, Input
from attn_dsl.ir.expr import Expr, Op, Read, SizeOf
from attn_dsl.ir.walk import tensors_read, walk
from attn_dsl.planning.dependence import Dependence, expressions
from attn_dsl.report.pairs import PairLoop, Params
from attn_dsl.runtime.random_inputs import example_sizes, random_arguments
from attn_dsl.runtime.sizes import DTYPES, evaluate_size

FEATURES, HEADS = 64, 4
SHORTEST, LONGEST = 1024, 2048
LENGTH_COMPUTED = 256  # where scores decide, all of them are evaluated
SEGMENTS = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """What a picture is drawn from: the size of every index, a tensor for every input, and the inputs that
    were not given but made up."""

    sizes: dict[str, int]
    arguments: dict[str, Tensor]
    made_up: tuple[str, ...]


def sample(
    cascade: Cascade, params: Params, loops: tuple[PairLoop, ...], sizes: Mapping[str, int],
    tensors: Mapping[str, Tensor], needed: Collection[str], seed: int = 0,
) -> Sample:  # fmt: skip
    """A sample with the given sizes and tensors, and the inputs ``needed`` made up where they are not given.
    ArgumentError for names, shapes or dtypes that do not fit."""
    _require_names(cascade, sizes, tensors)
    sizes = sizes_of_tensors(cascade, sizes, tensors)
    extents = picture_sizes(cascade, params, loops, sizes)
    drawn = tuple(i for i in cascade.inputs if i.name in needed or i.name in tensors)
    arguments = random_arguments(replace(cascade, inputs=drawn), extents, torch.float64, "cpu", seed)
    longest = max((extents[n] for loop in loops for n in (*loop.row_names, *loop.stream_names)), default=1)
    for declared in drawn:
        if declared.name in tensors:
            arguments[declared.name] = _fitting(declared, tensors[declared.name], extents)
        elif is_whole(declared):
            blank = arguments[declared.name]
            arguments[declared.name] = _integers(cascade, declared, blank, extents, longest, seed)
    made_up = tuple(i.name for i in drawn if i.name not in tensors)
    return Sample(extents, arguments, made_up)


def is_whole(declared: Input) -> bool:
    """Whether it holds integers: what lengths and places are read from."""
    return declared.dtype is not None and declared.dtype.startswith(("i", "u"))


def picture_sizes(
    cascade: Cascade, params: Params, loops: tuple[PairLoop, ...], given: Mapping[str, int]
) -> dict[str, int]:
    """A size for every index: given, declared, or small where it does not show."""
    declared = {i.name: i.size for i in cascade.indices}
    paired = {name for loop in loops for name in (*loop.row_names, *loop.stream_names)}
    whole = {name for loop in loops for name in loop.whole}
    shown = [i.name for i in cascade.indices if any(i.name in loop.varies_with for loop in loops)]
    computed = any(_reads_computed(cascade, loop.guard) for loop in loops)
    length = _length(cascade, params, paired, given, computed=computed)
    sizes = dict(given)
    for side in (side for loop in loops for side in (loop.row_names, loop.stream_names)):
        for name in side:
            if declared[name] is None:
                head = _is_member(cascade, name, paired | whole)
                size = HEADS if head else _side_length(cascade, params, side, name, length, sizes)
                sizes.setdefault(name, size)
    for index in cascade.indices:
        if index.size is None and index.name not in paired:
            if index.name.startswith("_"):
                sizes.setdefault(index.name, 2 * length)
            elif index.name in whole:
                sizes.setdefault(index.name, FEATURES)
            elif index.name in shown[-1:]:
                sizes.setdefault(index.name, HEADS)
            elif not _beside_a_pair(cascade, index.name, paired):
                sizes.setdefault(index.name, 1)
    return example_sizes(cascade, params, sizes)


def _length(
    cascade: Cascade, params: Params, paired: set[str], given: Mapping[str, int], *, computed: bool
) -> int:
    """Of a sequence: as long as another that is given, else long enough that what the params bound shows, and
    some tiles."""
    known = [n for name, n in given.items() if name in paired]
    if known:
        return max(known)
    if computed:
        return LENGTH_COMPUTED
    largest = sorted((abs(n) for n in _whole_params(cascade, params)), reverse=True)[:2]
    return min(LONGEST, max(SHORTEST, 1 << (2 * prod(largest) - 1).bit_length()))


def _reads_computed(cascade: Cascade, guard: Expr) -> bool:
    return any(cascade.input(tensor) is None for tensor in tensors_read(guard))


def _is_member(cascade: Cascade, name: str, tiled: set[str]) -> bool:
    """Whether it shares a composite with indices that no kernel tiles: query heads in their group."""
    axes = (axis.indices for tensor in cascade.inputs for axis in tensor.axes)
    return any(name in members and not set(members) <= tiled for members in axes)


def _whole_params(cascade: Cascade, params: Params) -> list[int]:
    return [int(params[p.name]) for p in cascade.params if p.kind == "int"]


def _side_length(
    cascade: Cascade, params: Params, side: tuple[str, ...], name: str, length: int, sizes: Mapping[str, int]
) -> int:
    """Of one index of a side: the length, or where several make up the side, as a declared one, else
    short."""
    if len(side) == 1:
        return length
    others = [evaluate_size(cascade.index(m).size, params, sizes) for m in side if m != name]
    known = [n for n in others if n is not None]
    longest = 32 if len(side) == 2 else 10
    return known[0] if known else min(longest, max(6, 2 * max(_whole_params(cascade, params), default=4)))


def _beside_a_pair(cascade: Cascade, name: str, paired: set[str]) -> bool:
    """Whether the index makes up a paired one: the pages of a page table."""
    return any(
        index.size is not None and any(isinstance(n, SizeOf) and n.index == name for n in walk(index.size))
        for index in cascade.indices
        if index.name in paired
    )


def _require_names(cascade: Cascade, sizes: Mapping[str, int], tensors: Mapping[str, Tensor]) -> None:
    indices = [i.name for i in cascade.indices if not i.name.startswith("_")]
    inputs = [i.name for i in cascade.inputs]
    for name, known, kind in [(n, indices, "index") for n in sizes] + [(n, inputs, "input") for n in tensors]:
        if name not in known:
            raise ArgumentError(
                Diagnostic(f"{cascade.name} has no {kind} '{name}'", help=f"it has {', '.join(known)}")
            )
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(
                Diagnostic(f"index '{name}' of size {size} shows nothing", help="give it 1 or more")
            )


def sizes_of_tensors(
    cascade: Cascade, sizes: Mapping[str, int], tensors: Mapping[str, Tensor]
) -> dict[str, int]:
    """With what the shapes of given tensors say."""
    found = dict(sizes)
    for declared in cascade.inputs:
        tensor = tensors.get(declared.name)
        if tensor is None or tensor.dim() != len(declared.axes):
            continue
        for axis, extent in zip(declared.axes, tensor.shape, strict=True):
            if len(axis.indices) == 1 and cascade.index(axis.indices[0]).size is None:
                found.setdefault(axis.indices[0], int(extent))
    return found


def _fitting(declared: Input, tensor: Tensor, sizes: Mapping[str, int]) -> Tensor:
    shape = tuple(_product(axis.indices, sizes) for axis in declared.axes)
    wanted = tensor.dtype if declared.dtype is None else DTYPES[declared.dtype]
    if tuple(tensor.shape) != shape or tensor.is_floating_point() != wanted.is_floating_point:
        dtype = str(wanted if declared.dtype is not None else torch.float32).removeprefix("torch.")
        raise ArgumentError(
            Diagnostic(
                f"input '{declared.name}' is a tensor of {str(tensor.dtype).removeprefix('torch.')} and shape "
                f"{tuple(tensor.shape)}, not of {dtype} and {shape}",
                declared.span,
                "give sizes that fit it, or another tensor",
            )
        )
    return tensor.to(wanted)


def _product(indices: tuple[str, ...], sizes: Mapping[str, int]) -> int:
    return prod(sizes[name] for name in indices)


def _integers(
    cascade: Cascade, declared: Input, drawn: Tensor, sizes: Mapping[str, int], longest: int, seed: int
) -> Tensor:
    """Integers that mean something where the cascade reads them: places within bounds, ascending numbers,
    lengths. Each is a share of its bound, so that the same input at other sizes is much the same in
    proportion."""
    generator = torch.Generator().manual_seed(seed)
    bounds = [sizes[index] for index in place_indices(cascade, declared.name)]
    shares = torch.rand(drawn.shape, generator=generator, dtype=torch.float64)
    if bounds:
        values = shares * max(1, min(bounds))
    elif drawn.dim() and _is_compared_with_itself(cascade, declared.name):
        values = (shares * SEGMENTS).sort(-1).values
    elif drawn.element_size() == 1:
        return drawn
    else:
        values = shares * longest
    return values.floor().to(drawn.dtype)


def place_indices(cascade: Cascade, name: str) -> Iterator[str]:
    """The indices of those slots of other tensors that the input's elements are places in."""
    flow = Dependence(cascade)
    for node in _nodes(cascade):
        if isinstance(node, Read):
            for slot, index in zip(node.indices, flow.dims(node.tensor), strict=True):
                if isinstance(slot, Read) and slot.tensor == name:
                    yield index


def _is_compared_with_itself(cascade: Cascade, name: str) -> bool:
    return any(
        isinstance(node, Op)
        and node.name in ("eq", "ne")
        and all(isinstance(a, Read) and a.tensor == name for a in node.args)
        for node in _nodes(cascade)
    )


def _nodes(cascade: Cascade) -> Iterator[Expr]:
    for statement in cascade.statements:
        for expr in expressions(statement):
            yield from walk(expr)
