"""Judging results too large for the dense reference: at some places of one index, by a cascade for these
alone.

    S[i,j] += Q[i,d] * K[j,d]           _at_S[s,j] += Q[_place[s],d] * K[j,d]
    O[i,e] += S[i,j] * V[j,e]     ->    _at_O[s,e] += _at_S[s,j] * V[j,e]

What reads a tensor at other places of the index (``S[i - 1, j]``, a sum over i) reads all of it. Where that
is too large too, there is no judgement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from attn_dsl.ir.cascade import Axis, Cascade, Einsum, Index, Input, Output, Reduction, Statement
from attn_dsl.ir.expr import Expr, IndexVar, Op, Read
from attn_dsl.ir.walk import index_names, transform
from attn_dsl.reference import evaluate
from attn_dsl.rewrites.algebra import conjunction
from attn_dsl.rewrites.dead_statements import dead_statements
from attn_dsl.rewrites.definitions import map_expressions
from attn_dsl.testing.rounding import Bounded, bounded_results

LARGEST = 1 << 24  # elements of a tensor of the reference
MOST_PLACES = 256
# No name of a user's begins with an underscore.
_SAMPLE, _PLACES, _AT = "_sample", "_place", "_at_"
_PLACE = Read(_PLACES, (IndexVar(_SAMPLE),))


@dataclass(frozen=True, slots=True)
class Subject:
    """What judges one output: ``cascade`` computes it under ``target``, all of it or at ``places`` of
    ``index``."""

    name: str
    cascade: Cascade
    target: str
    arguments: Mapping[str, Tensor]
    sizes: Mapping[str, int]
    index: str | None = None
    places: Tensor | None = None

    @property
    def extent(self) -> str:
        """How much of the output is judged, in words; empty for all of it."""
        if self.index is None:
            return ""
        return f"at {self.sizes[_SAMPLE]} of {self.sizes[self.index]} places of '{self.index}'"

    def expected(self, params: Mapping[str, int | float | bool]) -> Tensor:
        """The value by the dense reference."""
        return evaluate(self.cascade, params, self.arguments, self.sizes)[self.target]

    def bounded(self, params: Mapping[str, int | float | bool]) -> Bounded:
        """The same, with the error that rounding explains."""
        return bounded_results(self.cascade, params, self.arguments, self.sizes)[self.target]

    def of(self, result: Tensor) -> Tensor:
        """The part of a result that is judged."""
        if self.index is None or self.places is None:
            return result
        (output,) = self.cascade.outputs
        dims = [self.index if i == _SAMPLE else i for axis in output.axes for i in axis.indices]
        apart = result.reshape([self.sizes[d] for d in dims])
        return apart.index_select(dims.index(self.index), self.places.to(result.device))


def subjects(
    cascade: Cascade, arguments: Mapping[str, Tensor], sizes: Mapping[str, int], seed: int = 0
) -> dict[str, Subject | None]:
    """For each output what judges it; None where nothing can."""
    return {o.name: _subject(cascade, o, arguments, sizes, seed) for o in cascade.outputs}


def _subject(
    cascade: Cascade, output: Output, arguments: Mapping[str, Tensor], sizes: Mapping[str, int], seed: int
) -> Subject | None:
    alone = dead_statements(replace(cascade, outputs=(output,)))
    if largest_tensor(alone, sizes) <= LARGEST:
        return Subject(output.name, alone, output.name, arguments, sizes)
    found = [s for index in _dims(output) if (s := at_places(alone, output, index)) is not None]
    fitting = [(_most(c, i, sizes), c, i) for c, i in found]
    count, chosen, index = max(fitting, key=lambda f: f[0], default=(0, alone, ""))
    if not count:
        return None
    places = _places(sizes[index], count, seed)
    first = next(iter(arguments.values()))
    given = {**arguments, _PLACES: places.to(first.device)}
    extents = {**sizes, _SAMPLE: count}
    return Subject(output.name, chosen, f"{_AT}{output.name}", given, extents, index, places)


def _places(size: int, count: int, seed: int) -> Tensor:
    """Distinct places in order, the ends among them where there is room."""
    generator = torch.Generator().manual_seed(seed)
    inner = torch.randperm(max(size - 2, 0), generator=generator)[: max(count - 2, 0)] + 1
    return torch.cat([torch.tensor([0, size - 1][:count]), inner]).sort().values


def _most(cascade: Cascade, index: str, sizes: Mapping[str, int]) -> int:
    """How many places the reference has room for."""
    count = min(MOST_PLACES, sizes[index])
    while count and largest_tensor(cascade, {**sizes, _SAMPLE: count}) > LARGEST:
        count //= 2
    return count


def largest_tensor(cascade: Cascade, sizes: Mapping[str, int]) -> int:
    """The elements of the largest tensor that the reference makes of computed ones."""
    return max((prod(sizes[i] for i in space) for s in cascade.statements for space in _spaces(s)), default=0)


def _spaces(statement: Statement) -> Iterator[set[str]]:
    """The indices of the tensors on the way: a sum of products is taken by a product of matrices, of which
    those that are read are there already."""
    yield set(statement.dims)
    match statement:
        case Einsum(reduce=Reduction.SUM, body=Op(name="mul", args=args), over=over) if (
            not statement.is_keyed and all(set(over) <= set(index_names(a)) for a in args)
        ):
            yield from (set(index_names(a)) for a in args if not isinstance(a, Read))
        case Einsum():
            yield {*index_names(statement.body), *statement.over}
        case _:
            yield {*statement.dims, *index_names(statement.body)}


def _dims(output: Output) -> tuple[str, ...]:
    return tuple(i for axis in output.axes for i in axis.indices)


def at_places(cascade: Cascade, output: Output, index: str) -> tuple[Cascade, str] | None:
    """The cascade of one output at given places of an index; None where its elements go to places of their
    own."""
    slots = {
        s.target: s.dims.index(index)
        for s in cascade.statements
        if all(_is_along(index, part) for part in cascade.definitions(s.target))
    }
    if output.name not in slots:
        return None
    statements: list[Statement] = []
    for statement in cascade.statements:
        statements.append(statement)
        if statement.target in slots:
            statements.append(_sampled(statement, index, slots, cascade))
    axes = tuple(Axis((_SAMPLE if i == index else i,)) for i in _dims(output))
    made = replace(
        cascade,
        inputs=(*cascade.inputs, Input(_PLACES, (Axis((_SAMPLE,)),), "i64")),
        indices=(*cascade.indices, Index(_SAMPLE)),
        statements=tuple(statements),
        outputs=(Output(f"{_AT}{output.name}", axes, output.dtype),),
        masks=(),
    )
    return dead_statements(made), index


def _is_along(index: str, statement: Statement) -> bool:
    """Whether a statement defines each element along an index from what is at its own place."""
    if index not in statement.dims:
        return False
    if isinstance(statement, Einsum):
        key = statement.keys[statement.dims.index(index)]
        return key == IndexVar(index) and index not in statement.over
    return statement.over != index


def _sampled(statement: Statement, index: str, slots: Mapping[str, int], cascade: Cascade) -> Statement:
    def rule(expr: Expr) -> Expr:
        match expr:
            case IndexVar(name=name) if name == index:
                return _PLACE
            case Read(tensor=tensor, indices=indices) if tensor in slots and indices[slots[tensor]] == _PLACE:
                at = slots[tensor]
                return Read(
                    f"{_AT}{tensor}", (*indices[:at], IndexVar(_SAMPLE), *indices[at + 1 :]), expr.span
                )
            case _:
                return expr

    dims = tuple(_SAMPLE if d == index else d for d in statement.dims)
    changed = map_expressions(statement, lambda e: transform(e, rule))
    limit = cascade.index(index).limit if cascade.declares(index) else None
    inside = None if limit is None else transform(Op("lt", (IndexVar(index), limit)), rule)
    made = replace(
        changed, target=f"{_AT}{statement.target}", dims=dims, where=conjunction((changed.where, inside))
    )
    if isinstance(made, Einsum):
        keys = tuple(IndexVar(_SAMPLE) if k == IndexVar(index) else transform(k, rule) for k in made.keys)
        return replace(made, keys=keys)
    return made
