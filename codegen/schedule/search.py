"""How a kernel is cut into tiles: the candidates of its target in order, and the first that is accepted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TypeVar

from attn_dsl.codegen.schedule.schedule import Schedule
from attn_dsl.codegen.tiles import Dot, KernelBody, living_nodes
from attn_dsl.ir.dtypes import width

LEAST_LANES = 16  # of each side of a matrix product


@dataclass(frozen=True, slots=True)
class Demand:
    """What a kernel's tiles are made for. ``given``: what the user fixed; ``dtype``: of the operands of
    products; ``features``: lanes of all accumulators, or of the widest operand; ``few_rows``: there are no
    more rows than the least tile has."""

    given: Schedule
    dtype: str
    features: int
    few_rows: bool


@dataclass(frozen=True)
class Shape:
    """What shows of a kernel before it is compiled. ``lanes``: of every axis, in canonical order."""

    body: KernelBody
    lanes: dict[str, int]

    @cached_property
    def products(self) -> tuple[Dot, ...]:
        """Its matrix products."""
        return tuple(n.operation for n in living_nodes(self.body) if isinstance(n.operation, Dot))

    @property
    def is_thin(self) -> bool:
        """Whether a matrix product sums over fewer lanes than there are in a matrix instruction."""
        return any(prod(self.lanes[axis] for axis in p.over) < LEAST_LANES for p in self.products)

    @property
    def widest(self) -> int:
        """The most axes of any value: a product that no matrix instruction takes spans rows, stream and
        features."""
        return max((len(n.axes) for n in living_nodes(self.body)), default=0)

    @property
    def largest(self) -> int:
        """The most elements of any value."""
        return max((prod(self.lanes[a] for a in n.axes) for n in living_nodes(self.body)), default=0)

    def operand(self, otherwise: str) -> str:
        """The widest dtype that products are taken in."""
        return max((p.operand for p in self.products), key=width, default=otherwise)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to cut a kernel. ``least_stream``: lanes of a stream; ``least_beside``: of one that shares its
    lanes with whole indices. ``accepts``: whether a kernel cut so will do."""

    schedule: Schedule
    least_stream: int
    least_beside: int
    accepts: Callable[[Shape], bool]


Found = TypeVar("Found")


def search(
    candidates: Callable[[str], tuple[Candidate, ...]],
    dtype: str,
    cut: Callable[[Candidate], tuple[Found, Shape]],
) -> Found | None:
    """The first candidate's kernel that is accepted, None where none is. ``candidates``: for operands of a
    dtype; what a kernel's operands are shows once it is cut, and operands of another dtype have other
    tiles."""
    steps = candidates(dtype)
    found, shape = cut(steps[0])
    if (taken := shape.operand(dtype)) != dtype:
        steps = candidates(taken)
        found, shape = cut(steps[0])
    for step, after in zip(steps, (*steps[1:], None), strict=True):
        if step.accepts(shape):
            return found
        if after is not None:
            found, shape = cut(after)
    return None


__all__ = ["LEAST_LANES", "Candidate", "Demand", "Shape", "search"]
