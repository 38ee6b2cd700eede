"""How large an integer can become: the least and greatest value of every integer expression and tensor.

Integers of the language have 64 bits. Kernels compute in 32 what provably stays there, which is nearly
everything made of indices, and the rest in 64:

    i - j < window         32 bits, for extents and params below the limits that the launch has checked
    i * size(j) + j        64 bits: the number of a pair
    time[i] - time[j]      64 bits where the input is i32 or i64, 32 where it is i16

Intervals are Python's integers, so that nothing wraps in the analysis itself.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

from attn_dsl.ir.cascade import Cascade, Einsum, Ranking, RankingKind, Reduction, Statement
from attn_dsl.ir.dtypes import DTYPES, Kind
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

Interval = tuple[int, int]

BOOLEAN: Interval = (0, 1)
RANGES: dict[str, Interval] = {name: d.limits for name, d in DTYPES.items() if d.kind is not Kind.REAL}
# What a program is made for unless a call has more: no product of an index by a small factor leaves 32 bits.
NARROW_EXTENT, NARROW_PARAM = 2**24, 2**28
# Coordinates have 32 bits, and those of the last tile lie beyond the extent.
LARGEST_EXTENT = 2**31 - 2**16


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest extent of an index, and the largest magnitude of a param, that are not known."""

    extent: int
    param: int


NARROW = Limits(NARROW_EXTENT, NARROW_PARAM)
WIDE = Limits(LARGEST_EXTENT, 2**63)


def fits(interval: Interval, dtype: str) -> bool:
    """Whether a dtype holds every value of an interval."""
    low, high = RANGES[dtype]
    return low <= interval[0] and interval[1] <= high


@dataclass(slots=True)
class Widths:
    """The intervals of one cascade. ``dtypes``: of the inputs; ``sizes``, ``params``: those that are
    known."""

    cascade: Cascade
    dtypes: Mapping[str, str]
    sizes: Mapping[str, int]
    params: Mapping[str, int | float | bool]
    limits: Limits
    _tensors: dict[str, Interval] = field(default_factory=dict[str, Interval])
    _known: dict[Expr, Interval] = field(default_factory=dict[Expr, Interval])

    def of(self, expr: Expr) -> Interval:
        """The values of an expression, all of which are held: what leaves 64 bits may be anything."""
        interval = self.unbounded(expr)
        return interval if fits(interval, "i64") else RANGES["i64"]

    def unbounded(self, expr: Expr) -> Interval:
        """The values as they would be without a limit to the last operator's bits. Of a real: any integer."""
        if expr not in self._known:
            self._known[expr] = self._of(expr)
        return self._known[expr]

    def extent(self, index: str) -> int:
        """The largest size that an index can have."""
        return self.sizes.get(index, self.limits.extent)

    def _of(self, expr: Expr) -> Interval:
        match expr:
            case Const(value=value):
                return _constant(value)
            case IndexVar(name=name):
                return self._index(name)
            case SizeOf(index=index):
                known = self.sizes.get(index)
                return (0, self.limits.extent) if known is None else (known, known)
            case ParamRef(name=name):
                return self._param(name)
            case Read(tensor=tensor):
                return self.tensor(tensor)
            case Member():
                return BOOLEAN
            case Select(then=a, otherwise=b) | Default(value=a, fallback=b):
                return _hull(self.of(a), self.of(b))
            case Cast(dtype=dtype, value=value):
                return self._cast(dtype, value)
            case Detach(value=value):
                return self.of(value)
            case Op(name=name, args=args):
                return self._operator(name, args)

    def _index(self, name: str) -> Interval:
        """An index, or an endpoint ``lo:i`` of a tile of it; those of what is read have the width of the
        input."""
        plain = name.partition(":")[2] or name
        tensor = plain.partition("#")[0]
        return (0, max(self.extent(plain) - 1, 0)) if tensor == plain else self.tensor(tensor)

    def _param(self, name: str) -> Interval:
        if name in self.params:
            return _constant(self.params[name])
        return -self.limits.param, self.limits.param - 1

    def _cast(self, dtype: str, value: Expr) -> Interval:
        held = RANGES.get(dtype, RANGES["i64"])
        inner = self.of(value)
        return inner if held[0] <= inner[0] and inner[1] <= held[1] else held

    def _operator(self, name: str, args: tuple[Expr, ...]) -> Interval:
        kind = OPERATORS[name].result
        if kind is Kind.BOOLEAN:
            return BOOLEAN
        rule = _RULES.get(name)
        return RANGES["i64"] if kind is Kind.REAL or rule is None else rule(*map(self.of, args))

    # tensors

    def tensor(self, name: str) -> Interval:
        """The elements of an input or of a computed tensor."""
        if name.startswith("present:"):
            return BOOLEAN
        if name not in self._tensors:
            found = self._tensor(name)
            self._tensors[name] = found if fits(found, "i64") else RANGES["i64"]
        return self._tensors[name]

    def _tensor(self, name: str) -> Interval:
        if name in self.dtypes:
            return RANGES.get(self.dtypes[name], RANGES["i64"])
        statements = self.cascade.definitions(name)
        if not statements:
            return RANGES["i64"]
        parts = [self._statement(s) for s in statements]
        sums = any(isinstance(s, Einsum) and s.reduce is Reduction.SUM for s in statements)
        if sums:
            return sum(p[0] for p in parts), sum(p[1] for p in parts)
        return min(p[0] for p in parts), max(p[1] for p in parts)

    def _statement(self, statement: Statement) -> Interval:
        if isinstance(statement, Ranking):
            chosen = statement.kind in (RankingKind.TOPK, RankingKind.TOPP)
            return BOOLEAN if chosen else (0, self.extent(statement.over))
        body = self.of(statement.body)
        match statement.reduce:
            case Reduction.ANY | Reduction.ALL:
                return BOOLEAN
            case Reduction.SUM:
                most = prod(max(self.extent(i), 1) for i in statement.over)
                return min(0, body[0] * most), max(0, body[1] * most)
            case Reduction.PRODUCT:
                return body if fits(body, "bool") else RANGES["i64"]
            case Reduction.MAX | Reduction.MIN | Reduction.MEAN | None:
                return body


def _constant(value: float) -> Interval:
    return RANGES["i64"] if isinstance(value, float) else (int(value), int(value))


def _hull(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), max(a[1], b[1])


def _corners(combine: Callable[[int, int], int]) -> Callable[[Interval, Interval], Interval]:
    def rule(a: Interval, b: Interval) -> Interval:
        found = [combine(x, y) for x in a for y in b]
        return min(found), max(found)

    return rule


def _floordiv(a: Interval, b: Interval) -> Interval:
    divisors = {d for d in (*b, 1, -1) if b[0] <= d <= b[1] and d}
    found = [x // d for x in a for d in divisors] + [0] * (b[0] <= 0 <= b[1])
    return min(found), max(found)


def _mod(a: Interval, b: Interval) -> Interval:
    if a[0] >= 0 and b[0] >= 0:
        return 0, max(min(a[1], b[1] - 1), 0)
    return min(b[0] + 1, 0), max(b[1] - 1, 0)


def _pow(a: Interval, b: Interval) -> Interval:
    if b[0] != b[1] or not 0 <= b[0] <= 64:
        return RANGES["i64"]
    most = max(abs(a[0]), abs(a[1])) ** b[0]
    return (min(a[0], 0) and -most), max(most, 1)


def _shl(a: Interval, b: Interval) -> Interval:
    least, most = max(b[0], 0), min(b[1], 63)
    found = [x << s for x in a for s in (least, most)] if least <= most else []
    return min((*found, 0)), max((*found, 0))


def _shr(a: Interval, b: Interval) -> Interval:
    return _hull(a, (-1 if a[0] < 0 else 0, 0))


def _bits(a: Interval, b: Interval) -> Interval:
    low, high = _hull(a, b)
    most = max(-low - 1, high, 0).bit_length()
    return (-(1 << most) if low < 0 else 0), (1 << most) - 1


def _bitand(a: Interval, b: Interval) -> Interval:
    tops = [x[1] for x in (a, b) if x[0] >= 0]
    return (0, min(tops)) if tops else _bits(a, b)


def _abs(a: Interval) -> Interval:
    least = 0 if a[0] <= 0 <= a[1] else min(abs(a[0]), abs(a[1]))
    return least, max(abs(a[0]), abs(a[1]))


def _least(*parts: Interval) -> Interval:
    return min(p[0] for p in parts), min(p[1] for p in parts)


def _greatest(*parts: Interval) -> Interval:
    return max(p[0] for p in parts), max(p[1] for p in parts)


def _neg(a: Interval) -> Interval:
    return -a[1], -a[0]


def _clamp(x: Interval, low: Interval, high: Interval) -> Interval:
    return _least(_greatest(x, low), high)


def _relu(a: Interval) -> Interval:
    return _greatest(a, (0, 0))


_RULES: dict[str, Callable[..., Interval]] = {
    "add": _corners(operator.add),
    "sub": _corners(operator.sub),
    "mul": _corners(operator.mul),
    "neg": _neg,
    "floordiv": _floordiv,
    "mod": _mod,
    "pow": _pow,
    "shl": _shl,
    "shr": _shr,
    "bitand": _bitand,
    "bitor": _bits,
    "bitxor": _bits,
    "min": _least,
    "max": _greatest,
    "clamp": _clamp,
    "abs": _abs,
    "relu": _relu,
}
