"""The account at the sizes of a picture or a page, with integer inputs that mean something where none are
given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from attn_dsl.account.analysis import Request, analyse
from attn_dsl.account.call import LENGTH, complete_sizes, example_sizes, tiled_indices
from attn_dsl.account.model import Analysis, KernelAccount, LoopAccount
from attn_dsl.ir.expr import SizeOf
from attn_dsl.ir.walk import walk
from attn_dsl.planning import plan
from attn_dsl.report.masks import MaskRequest, behind
from attn_dsl.report.pairs import PairLoop, example_loops
from attn_dsl.report.samples import is_whole, place_indices, sample
from attn_dsl.runtime.sizes import evaluate_size

PAGE = 16  # elements of a page, and whatever else a length is made of


@dataclass(frozen=True, slots=True)
class Costed:
    """An account. ``made_up``: the inputs whose values decide masks and that were not given."""

    analysis: Analysis
    made_up: tuple[str, ...]


def account_at(request: MaskRequest, *, backward: bool = False) -> Costed:
    """The account of a request. Lengths that are not given are 4096, features 64, other indices 1. Errors as
    ``analyse``."""
    loops = example_loops(request.cascade, request.params)
    return _account(request, loops, length_sizes(request, loops, LENGTH), backward=backward)


def over_lengths(
    request: MaskRequest, lengths: Sequence[int], *, backward: bool = False
) -> tuple[Costed, ...]:
    """The account for each length of what is tiled. Where a side has several indices they share it: an image
    of 64 x 64 has the length 4096."""
    loops = example_loops(request.cascade, request.params)
    sizes = (length_sizes(request, loops, length) for length in lengths)
    return tuple(_account(request, loops, size, backward=backward) for size in sizes)


def length_sizes(request: MaskRequest, loops: tuple[PairLoop, ...], length: int) -> dict[str, int]:
    """Sizes at which every side that is tiled has this many elements, beside those that the request fixes."""
    sizes = dict(request.sizes)
    open_ = {i.name for i in request.cascade.indices if i.size is None and not i.name.startswith("_")}
    for loop in loops:
        for side in (loop.row_names, loop.stream_names):
            free = [n for n in side if n in open_ and n not in request.sizes]
            sized = (
                evaluate_size(request.cascade.index(n).size, request.params, request.sizes) for n in side
            )
            known = prod(request.sizes.get(n, size or 1) for n, size in zip(side, sized, strict=True))
            for name in free:
                sizes.setdefault(name, max(1, round((length / max(known, 1)) ** (1 / len(free)))))
    for name in tiled_indices(request.cascade, request.params):
        if not name.startswith("_"):
            sizes.setdefault(name, length)
    return _composed(request, loops, sizes, length)


def _composed(
    request: MaskRequest, loops: tuple[PairLoop, ...], sizes: dict[str, int], length: int
) -> dict[str, int]:
    """With the sizes that a tiled index is declared by (pages of some elements), such that it has the length;
    and what an integer input gives places in is as long as that input."""
    cascade = request.cascade
    for name in dict.fromkeys(n for loop in loops for n in (*loop.row_names, *loop.stream_names)):
        declared = cascade.index(name).size
        parts = [] if declared is None else [n.index for n in walk(declared) if isinstance(n, SizeOf)]
        first, *others = [n for n in parts if cascade.index(n).size is None and n not in sizes] or [""]
        sizes |= dict.fromkeys(others, PAGE)
        while (
            first
            and (evaluate_size(declared, request.params, {**sizes, first: sizes.get(first, 1)}) or length)
            < length
        ):
            sizes[first] = 2 * sizes.get(first, 1)
    for tensor in cascade.inputs:
        extents = [sizes.get(d, 1) for d in tensor.dims]
        for place in place_indices(cascade, tensor.name) if is_whole(tensor) else ():
            if cascade.index(place).size is None:
                sizes.setdefault(place, prod(extents))
    return sizes


def _account(
    request: MaskRequest, loops: tuple[PairLoop, ...], sizes: Mapping[str, int], *, backward: bool
) -> Costed:
    cascade, params = request.cascade, request.params
    tiled = tiled_indices(cascade, params)
    given = example_sizes(cascade, params, sizes)
    full = complete_sizes(cascade, params, plan(cascade, params).whole, tiled, given, request.tensors)
    whole = {i.name for i in cascade.inputs if is_whole(i)}
    deciding = {n for loop in loops for n in behind(cascade, loop)} & whole
    named = {n: v for n, v in full.items() if not n.startswith("_")}
    drawn = sample(cascade, params, loops, named, request.tensors, deciding, request.seed)
    asked = Request(
        cascade, params, given, request.dtype, request.device, request.tiles, drawn.arguments, backward
    )
    return Costed(analyse(asked), drawn.made_up)


def distinct_loops(kernel: KernelAccount) -> tuple[LoopAccount, ...]:
    """The loops of a kernel; of the two loops of one plan, over full tiles and over the rest, the account has
    one each where they test tiles differently, and the one that visits less is what happens."""
    found: dict[tuple[object, ...], LoopAccount] = {}
    for loop in kernel.loops:
        key = (loop.stream, loop.plan, loop.live)
        if key not in found or loop.tiles.visited < found[key].tiles.visited:
            found[key] = loop
    return tuple(found.values())
