"""Expressions as numbers: a total integer or truth-valued expression over a grid, by numpy, broadcast.

A `Grid` has named axes. A variable (an index, an end of a tile, a least element of a tensor over tiles) is an
array with one dimension an axis, of length 1 where it does not vary. So ``i - window + 1`` over a million
rows and a thousand batches costs a million operations, and a predicate over rows alone never meets the keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from attn_dsl.analysis.logic import PRESENT
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.dtypes import Kind, dtype_kind
from attn_dsl.ir.expr import (
    Cast,
    Const,
    Default,
    Detach,
    Expr,
    IndexVar,
    Member,
    Op,
    ParamRef,
    Read,
    Select,
    SizeOf,
)
from attn_dsl.ir.operators import OPERATORS
from attn_dsl.ir.walk import children, index_names, walk

# numpy's own annotations leave the element type open here; arrays are int64, float64 or bool.
Array = Any


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a call. ``sizes``: of every index; ``tensors``: of those inputs whose values are
    given, by name, as numpy arrays laid out as the file declares them; ``presences``: of computed tensors,
    whether an element exists, over the tensor's own indices, of length 1 where it does not vary."""

    cascade: Cascade
    params: Mapping[str, int | float | bool]
    sizes: Mapping[str, int]
    tensors: Mapping[str, Array] = field(default_factory=dict[str, Array])
    presences: Mapping[str, Array] = field(default_factory=dict[str, Array])

    def knows(self, expr: Expr) -> bool:
        """Whether an expression can be evaluated: it reads given inputs and plain operators alone."""
        match expr:
            case Read(tensor=tensor):
                known = (
                    tensor.removeprefix(PRESENT) in self.presences
                    if tensor.startswith(PRESENT)
                    else tensor in self.tensors
                )
                if not known:
                    return False
            case Member():
                return False
            case ParamRef(name=name):
                return name in self.params
            case SizeOf(index=index):
                return index in self.sizes
            case Op(name="uniform" | "present"):
                return False
            case _:
                pass
        return all(self.knows(child) for child in children(expr))


@dataclass(frozen=True, slots=True)
class Grid:
    """Named axes with their lengths, and the variables over them."""

    axes: tuple[str, ...]
    lengths: Mapping[str, int]
    variables: Mapping[str, Array]

    def along(self, expr: Expr) -> frozenset[str]:
        """The axes an expression varies along."""
        names = index_names(expr)
        return frozenset(a for n in names for a in self.axes_of(n))

    def axes_of(self, name: str) -> frozenset[str]:
        """The axes a variable varies along."""
        shape = self.variables[name].shape
        return frozenset(a for a, n in zip(self.axes, shape, strict=True) if n > 1)

    def with_variables(self, more: Mapping[str, Array]) -> Grid:
        """The grid with further variables."""
        return Grid(self.axes, self.lengths, {**self.variables, **more})

    def part(self, axis: str, start: int, stop: int) -> Grid:
        """The grid over a stretch of one axis."""
        at = self.axes.index(axis)
        cut = tuple(slice(start, stop) if a == at else slice(None) for a in range(len(self.axes)))
        variables = {n: v[cut] if v.shape[at] > 1 else v for n, v in self.variables.items()}
        if self.lengths[axis] == 1:
            variables = dict(self.variables)
        return Grid(self.axes, {**self.lengths, axis: stop - start}, variables)


def grid(lengths: Mapping[str, int]) -> Grid:
    """A grid whose variables are its own axes: the values of indices."""
    axes = tuple(lengths)
    variables = {a: axis_values(axes, a, np.arange(lengths[a], dtype=np.int64)) for a in axes}
    return Grid(axes, dict(lengths), variables)


def axis_values(axes: tuple[str, ...], axis: str, values: Array) -> Array:
    """A vector laid along one of the axes."""
    return values.reshape(tuple(len(values) if a == axis else 1 for a in axes))


def evaluate(expr: Expr, grid: Grid, facts: Facts) -> Array:
    """The values of an expression over a grid, broadcast: length 1 along axes it does not vary with."""
    memo: dict[Expr, Array] = {}

    def value(node: Expr) -> Array:
        found = memo.get(node)
        if found is None:
            found = memo[node] = _evaluate(node, grid, facts, value)
        return found

    return value(expr)


def _evaluate(expr: Expr, grid: Grid, facts: Facts, value: Callable[[Expr], Array]) -> Array:
    scalar = (1,) * len(grid.axes)
    match expr:
        case Const(value=number):
            return np.full(scalar, number)
        case ParamRef(name=name):
            return np.full(scalar, facts.params[name])
        case SizeOf(index=index):
            return np.full(scalar, facts.sizes[index], dtype=np.int64)
        case IndexVar(name=name):
            return grid.variables[name]
        case Read():
            return _read(expr, facts, value, scalar)
        case Select(condition=c, then=a, otherwise=b):
            return np.where(value(c), value(a), value(b))
        case Cast(dtype=dtype, value=inner):
            return value(inner).astype(_HELD[dtype_kind(dtype)])
        case Detach(value=inner) | Default(value=inner):
            return value(inner)
        case Op(name=name, args=args):
            return operate(name, [value(a) for a in args])
        case _:
            raise AssertionError(f"{expr} is not known before the call")


_HELD = {Kind.REAL: np.float64, Kind.BOOLEAN: np.bool_, Kind.INTEGER: np.int64}


def _read(read: Read, facts: Facts, value: Callable[[Expr], Array], scalar: tuple[int, ...]) -> Array:
    """Elements of a given tensor; where a slot is out of bounds, any element (a guard has said so
    already)."""
    if read.tensor.startswith(PRESENT):
        known = facts.presences[read.tensor.removeprefix(PRESENT)]
        slots = zip(read.indices, known.shape, strict=True)
        at = [np.clip(value(s), 0, n - 1) if n > 1 else np.zeros(scalar, dtype=np.int64) for s, n in slots]
        return known[tuple(at)] if at else known.reshape(scalar)
    declared = facts.cascade.input(read.tensor)
    assert declared is not None
    data = facts.tensors[read.tensor]
    slots = iter(read.indices)
    places: list[Array] = []
    for axis, extent in zip(declared.axes, data.shape, strict=True):
        place: Array = None
        for index in axis.indices:
            slot = value(next(slots))
            place = slot if place is None else place * facts.sizes[index] + slot
        places.append(np.clip(place, 0, max(extent - 1, 0)))
    if data.size == 0:
        return np.zeros(scalar, dtype=data.dtype)
    found = data[tuple(places)] if places else data.reshape(scalar)
    return found.astype(np.int64) if found.dtype.kind in "iu" else found


def _whole(a: Array) -> Array:
    return a.astype(np.int64) if a.dtype == np.bool_ else a


def _floordiv(a: Array, b: Array) -> Array:
    """Rounds down; by zero, 0, as in the reference."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b == 0, 0, np.floor_divide(a, np.where(b == 0, 1, b)))


def _mod(a: Array, b: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b == 0, 0, np.remainder(a, np.where(b == 0, 1, b)))


def _quietly(function: Callable[..., Array]) -> Callable[..., Array]:
    def quiet(*args: Array) -> Array:
        with np.errstate(all="ignore"):
            return function(*args)

    return quiet


def _power(a: Array, b: Array) -> Array:
    negative = a.dtype.kind == "i" and b.dtype.kind == "i" and bool((b < 0).any())
    return np.power(a.astype(np.float64), b) if negative else np.power(a, b)


def _least(*args: Array) -> Array:
    return reduce(np.minimum, args)


def _greatest(*args: Array) -> Array:
    return reduce(np.maximum, args)


# Functions of the language that numpy has under its own name go by that.
_ARITHMETIC: dict[str, Callable[..., Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide, "floordiv": _floordiv, "mod": _mod,
    "pow": _power, "neg": np.negative, "shr": np.right_shift, "shl": np.left_shift, "bitand": np.bitwise_and,
    "bitxor": np.bitwise_xor, "bitor": np.bitwise_or, "min": _least, "max": _greatest,
}  # fmt: skip
_TRUTH: dict[str, Callable[..., Array]] = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
    "ne": np.not_equal, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not,
}  # fmt: skip


def operate(name: str, args: Sequence[Array]) -> Array:
    """An operator on values that all exist; not ``present``, nor ``uniform``."""
    if name in _TRUTH:
        return _TRUTH[name](*args)
    function = _ARITHMETIC.get(name) or getattr(np, name, None)
    if function is None and OPERATORS[name].formula is not None:
        return OPERATORS[name].by_formula(args, operate, np.asarray)
    return _quietly(function or np.vectorize(getattr(math, name), otypes=[np.float64]))(*map(_whole, args))


def reads(expr: Expr) -> tuple[str, ...]:
    """The tensors an expression reads, presences by their tensors' names, each once."""
    found = (n.tensor.removeprefix(PRESENT) for n in walk(expr) if isinstance(n, Read))
    return tuple(dict.fromkeys(found))
