"""A tensor of the cascade as numbers: attention weights, scores, statistics, as the dense reference evaluates
them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from attn_dsl.errors import ArgumentError, Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.planning.dependence import Dependence
from attn_dsl.reference.partial import Scope
from attn_dsl.report.evaluation import evaluated, made_up_behind, require_drawable
from attn_dsl.report.masks import MOST_PANELS, MaskRequest
from attn_dsl.report.pairs import PairLoop, Params, example_loops
from attn_dsl.report.samples import Sample, is_whole, sample, sizes_of_tensors

SIZE = 64  # of a sequence, where none is given


@dataclass(frozen=True, slots=True)
class Heat:
    """A slice of a tensor. ``values``: float64, rows and columns flattened row-major, NaN where an element
    does not exist; ``at``: the other indices it is a slice of; ``made_up``: the inputs that were not
    given."""

    of: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    sizes: Mapping[str, int]
    values: NDArray[np.float64]
    at: Mapping[str, int]
    made_up: tuple[str, ...]

    @property
    def title(self) -> str:
        """The tensor, and which slice."""
        at = ", ".join(f"{name} = {n}" for name, n in self.at.items())
        return f"{self.of}, {at}" if at else self.of


def tensor_heat(request: MaskRequest, tensor: str | None) -> tuple[Heat, ...]:
    """The tensor evaluated on the given inputs, or random ones: the first few slices along its heads, or
    whatever stands innermost beside what is drawn. None: the last that spans rows and keys, which is what
    weighs the values. ArgumentError for an unknown tensor, and for sizes that are too large."""
    cascade, params = request.cascade, request.params
    loops = _loops(cascade, params)
    known = [*(i.name for i in cascade.inputs), *dict.fromkeys(s.target for s in cascade.statements)]
    chosen = tensor if tensor is not None else _weights(cascade, loops)
    if chosen is None or chosen not in known:
        message = (
            f"{cascade.name} has no tensor '{tensor}'"
            if chosen
            else f"{cascade.name} states no tensor over rows and keys"
        )
        raise ArgumentError(Diagnostic(message, help=f"tensors: {', '.join(known)}"))
    flow = Dependence(cascade)
    given = sizes_of_tensors(cascade, request.sizes, request.tensors)
    behind = {chosen, *flow.ancestors(chosen)}
    needed = {i.name for i in cascade.inputs if i.name in behind or is_whole(i)}
    drawn = sample(
        cascade, params, loops, _small(cascade, loops, given), request.tensors, needed, request.seed
    )
    return _slices(cascade, chosen, loops, drawn, evaluated(cascade, params, drawn, {chosen}))


def _loops(cascade: Cascade, params: Params) -> tuple[PairLoop, ...]:
    """What tells rows from streams; nothing where the mechanism becomes no kernel, which the reference
    evaluates."""
    try:
        return example_loops(cascade, params)
    except NotLoweredError:
        return ()


def _weights(cascade: Cascade, loops: tuple[PairLoop, ...]) -> str | None:
    flow = Dependence(cascade)
    found = [
        s.target
        for s in cascade.statements
        for loop in loops
        if {*loop.row_names, *loop.stream_names} <= set(flow.dims(s.target))
    ]
    return found[-1] if found else None


def _small(cascade: Cascade, loops: tuple[PairLoop, ...], given: Mapping[str, int]) -> dict[str, int]:
    """Short sequences, where nothing else is said: every element is evaluated, features included."""
    sides = [side for loop in loops for side in (loop.row_names, loop.stream_names) if len(side) == 1]
    free = {name for (name,) in sides if cascade.index(name).size is None}
    paired = {n for loop in loops for n in (*loop.row_names, *loop.stream_names)}
    return dict(given) if paired & set(given) else {**dict.fromkeys(free, SIZE), **given}


def _slices(
    cascade: Cascade, tensor: str, loops: tuple[PairLoop, ...], drawn: Sample, scope: Scope
) -> tuple[Heat, ...]:
    dims = Dependence(cascade).dims(tensor)
    rows, columns = _sides(dims, loops)
    require_drawable((*rows, *columns), drawn.sizes)
    rest = [d for d in dims if d not in (*rows, *columns)]
    value = scope.tensors[tensor]
    shape = [drawn.sizes[d] for d in dims]
    numbers = value.value.to(torch.float64).expand(shape)
    if value.present is not None:
        numbers = torch.where(value.present.expand(shape), numbers, torch.nan)
    numbers = numbers.permute([dims.index(d) for d in (*rest, *rows, *columns)])
    along = rest[-1:]
    made_up = made_up_behind(cascade, drawn, {tensor})
    heats: list[Heat] = []
    for places in product(*(range(min(drawn.sizes[n], MOST_PANELS)) for n in along)):
        at = {**dict.fromkeys(rest, 0), **dict(zip(along, places, strict=True))}
        part = numbers[tuple(at[r] for r in rest)]
        flat = part.reshape(prod(drawn.sizes[n] for n in rows), prod(drawn.sizes[n] for n in columns))
        shown = {n: k for n, k in at.items() if drawn.sizes[n] > 1}
        heats.append(Heat(tensor, rows, columns, drawn.sizes, flat.numpy(), shown, made_up))
    return tuple(heats)


def _sides(dims: tuple[str, ...], loops: tuple[PairLoop, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Rows and stream of the loop the tensor spans; else its last two dims."""
    for loop in loops:
        if {*loop.row_names, *loop.stream_names} <= set(dims):
            return loop.row_names, loop.stream_names
    return tuple(dims[-2:-1]), tuple(dims[-1:])
