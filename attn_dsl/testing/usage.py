"""What the integers of an input are for, as far as the statements show it: which values make sense in a
test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from attn_dsl.ir.cascade import Cascade, Einsum, Input
from attn_dsl.ir.dtypes import DTYPES
from attn_dsl.ir.expr import Expr, IndexVar, Member, Op, Read
from attn_dsl.ir.operators import COMPARISONS
from attn_dsl.ir.walk import index_names, tensors_read, walk

_BITWISE = frozenset({"shr", "shl", "bitand", "bitor", "bitxor"})
_MOST = 1 << 40  # of what is as wide as any integer
_LABELS = 3


@dataclass(frozen=True, slots=True)
class IntegerRange:
    """Both ends inclusive. ``bounded``: whether values a little outside make sense too, as places out of
    bounds."""

    low: int
    high: int
    bounded: bool = False


def integer_range(declared: Input, cascade: Cascade, sizes: Mapping[str, int]) -> IntegerRange:
    """The values that an integer input is good for: places, lengths, packed bits, labels, seeds."""
    name, dtype = declared.name, DTYPES[declared.dtype or "i64"]
    width = max(dtype.limits[0], -_MOST), min(dtype.limits[1], _MOST)
    nodes = [node for expr in expressions(cascade) for node in walk(expr)]
    if any(isinstance(n, Op) and n.name in (*_BITWISE, "uniform") and _reads(n, name) for n in nodes):
        return IntegerRange(*width)
    extents = [
        *_places(nodes, name, cascade, sizes),
        *_limits(cascade, name, sizes),
        *_compared(nodes, name, sizes),
    ]
    if extents:
        return IntegerRange(0, max(0, min(max(extents), width[1])), bounded=True)
    if dtype.bytes == 1 and not _labels(nodes, name):
        return IntegerRange(*width)
    return IntegerRange(0, _LABELS)


def is_only_added(declared: Input, cascade: Cascade) -> bool:
    """Whether an input is read as an operand of a sum of two, and nowhere else: a bias."""
    nodes = [node for expr in expressions(cascade) for node in walk(expr)]
    sums = [n for n in nodes if isinstance(n, Op) and n.name == "add"]
    added = sum(isinstance(a, Read) and a.tensor == declared.name for n in sums for a in n.args)
    return added > 0 and added == sum(isinstance(n, Read) and n.tensor == declared.name for n in nodes)


def expressions(cascade: Cascade) -> Iterator[Expr]:
    """Every expression of the statements."""
    for statement in cascade.statements:
        yield statement.body
        if statement.where is not None:
            yield statement.where
        if isinstance(statement, Einsum):
            yield from statement.keys
        elif statement.count is not None:
            yield statement.count


def _reads(expr: Expr | None, name: str) -> bool:
    return name in tensors_read(expr)


def _places(nodes: list[Expr], name: str, cascade: Cascade, sizes: Mapping[str, int]) -> Iterator[int]:
    """The last place of every dimension that the input is used to index, and of every index it lists."""
    for node in nodes:
        match node:
            case Read(tensor=tensor, indices=indices):
                for dim, index in zip(_dims(tensor, cascade), indices, strict=True):
                    if _reads(index, name):
                        yield sizes[dim] - 1
            case Member(element=element, tensor=tensor) if tensor == name:
                yield from (sizes[i] - 1 for i in index_names(element))
            case _:
                pass


def _limits(cascade: Cascade, name: str, sizes: Mapping[str, int]) -> Iterator[int]:
    """The extent of every index that the input limits."""
    return (sizes[i.name] for i in cascade.indices if _reads(i.limit, name))


def _compared(nodes: list[Expr], name: str, sizes: Mapping[str, int]) -> Iterator[int]:
    """The extent of every index that the input is compared with."""
    for node in nodes:
        if isinstance(node, Op) and node.name in COMPARISONS and _reads(node, name):
            for side in node.args:
                yield from (sizes[n.name] for n in _outside_reads(side) if isinstance(n, IndexVar))


def _labels(nodes: list[Expr], name: str) -> bool:
    """Whether the input is compared with anything at all."""
    return any(isinstance(n, Op) and n.name in COMPARISONS and _reads(n, name) for n in nodes)


def _outside_reads(expr: Expr) -> Iterator[Expr]:
    """The nodes of an expression that do not stand within a read."""
    if isinstance(expr, Op):
        for arg in expr.args:
            yield from _outside_reads(arg)
    else:
        yield expr


def _dims(tensor: str, cascade: Cascade) -> tuple[str, ...]:
    declared = cascade.input(tensor)
    return cascade.definitions(tensor)[0].dims if declared is None else declared.dims
