"""Interval arithmetic on predicates: can any element of a tile hold, do all of them?

Each integer subexpression becomes its least and greatest value over a tile, as expressions of the tile's
own extremes ``lo:i`` and ``hi:i``. The result is sound: ``possible`` is true wherever some element holds,
``certain`` only where all do. What has no interval (reals, computed tensors) is possible and not certain.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from attn_dsl.analysis.integers import Values, is_nonnegative, is_positive
from attn_dsl.analysis.logic import FALSE, TRUE, conjunction, disjunction, negation
from attn_dsl.analysis.predicates import is_integral
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Const, Detach, Expr, IndexVar, Op, ParamRef, Read, Select, SizeOf
from attn_dsl.ir.operators import COMPARISONS

Interval = tuple[Expr, Expr]


@dataclass(frozen=True, slots=True)
class Extremum:
    """``lo:name`` and ``hi:name`` are the least and greatest element that a read meets in a tile."""

    name: str
    read: Read


@dataclass(frozen=True, slots=True)
class IntervalTest:
    """Predicates over the extremes of a tile."""

    possible: Expr
    certain: Expr
    extrema: tuple[Extremum, ...]


@dataclass(slots=True)
class _Intervals:
    cascade: Cascade
    params: Values
    extrema: dict[Read, Extremum] = field(default_factory=dict)

    def of(self, expr: Expr) -> Interval | None:
        match expr:
            case Const() | ParamRef() | SizeOf():
                return expr, expr
            case IndexVar(name=name):
                return IndexVar(f"lo:{name}"), IndexVar(f"hi:{name}")
            case Detach(value=value):
                return self.of(value)
            case Read():
                return self._read(expr)
            case Select(then=a, otherwise=b):
                return self._hull(self.of(a), self.of(b))
            case Op(name=name, args=args):
                inner = [self.of(a) for a in args]
                known = [i for i in inner if i is not None]
                return self._operate(name, args, known) if len(known) == len(inner) else None
            case _:
                return None

    def _read(self, read: Read) -> Interval | None:
        declared = self.cascade.input(read.tensor)
        plain = all(isinstance(slot, IndexVar) for slot in read.indices)
        if declared is None or not plain or not is_integral(read, self.cascade):
            return None
        if read not in self.extrema:
            self.extrema[read] = Extremum(f"{read.tensor}#{len(self.extrema)}", read)
        name = self.extrema[read].name
        return IndexVar(f"lo:{name}"), IndexVar(f"hi:{name}")

    def _hull(self, a: Interval | None, b: Interval | None) -> Interval | None:
        if a is None or b is None:
            return None
        return Op("min", (a[0], b[0])), Op("max", (a[1], b[1]))

    def _operate(self, name: str, args: tuple[Expr, ...], inner: list[Interval]) -> Interval | None:
        match name:
            case "add":
                return Op("add", (inner[0][0], inner[1][0])), Op("add", (inner[0][1], inner[1][1]))
            case "sub":
                return Op("sub", (inner[0][0], inner[1][1])), Op("sub", (inner[0][1], inner[1][0]))
            case "neg":
                return Op("neg", (inner[0][1],)), Op("neg", (inner[0][0],))
            case "min" | "max":
                return Op(name, tuple(i[0] for i in inner)), Op(name, tuple(i[1] for i in inner))
            case "clamp":
                return Op("clamp", tuple(i[0] for i in inner)), Op("clamp", tuple(i[1] for i in inner))
            case "abs":
                low, high = inner[0]
                return Op("max", (low, Op("neg", (high,)), Const(0))), Op("max", (high, Op("neg", (low,))))
            case "mul" if any(
                is_nonnegative(a, self.params) and i[0] == i[1] for a, i in zip(args, inner, strict=True)
            ):
                at = 0 if is_nonnegative(args[0], self.params) and inner[0][0] == inner[0][1] else 1
                factor, other = inner[at][0], inner[1 - at]
                return Op("mul", (other[0], factor)), Op("mul", (other[1], factor))
            case "floordiv" if is_positive(args[1], self.params) and inner[1][0] == inner[1][1]:
                divisor = inner[1][0]
                return Op("floordiv", (inner[0][0], divisor)), Op("floordiv", (inner[0][1], divisor))
            case "mod" if is_positive(args[1], self.params) and inner[1][0] == inner[1][1]:
                return self._mod(inner[0], inner[1][0])
            case "bitand" if any(is_nonnegative(a, self.params) for a in args):
                tops = [i[1] for a, i in zip(args, inner, strict=True) if is_nonnegative(a, self.params)]
                return Const(0), tops[0] if len(tops) == 1 else Op("min", tuple(tops))
            case _:
                return None

    def _mod(self, dividend: Interval, divisor: Expr) -> Interval:
        """Exact where the tile stays within one period."""
        low, high = dividend
        same = Op("eq", (Op("floordiv", (low, divisor)), Op("floordiv", (high, divisor))))
        top = Op("sub", (divisor, Const(1)))
        return (
            Select(same, Op("mod", (low, divisor)), Const(0)),
            Select(same, Op("mod", (high, divisor)), top),
        )

    def test(self, predicate: Expr) -> tuple[Expr, Expr]:
        """(possible, certain)."""
        match predicate:
            case Const():
                return predicate, predicate
            case Op(name="and", args=args):
                tests = [self.test(a) for a in args]
                return conjunction(*(t[0] for t in tests)), conjunction(*(t[1] for t in tests))
            case Op(name="or", args=args):
                tests = [self.test(a) for a in args]
                return disjunction(*(t[0] for t in tests)), disjunction(*(t[1] for t in tests))
            case Op(name="not", args=(inner,)):
                possible, certain = self.test(inner)
                return negation(certain), negation(possible)
            case Op(name=name, args=(a, b)) if name in COMPARISONS and is_integral(predicate, self.cascade):
                left, right = self.of(a), self.of(b)
                return (TRUE, FALSE) if left is None or right is None else _compare(name, left, right)
            case Read() if is_integral(predicate, self.cascade):
                found = self.of(predicate)
                if found is None:
                    return TRUE, FALSE
                return Op("ne", (found[1], Const(0))), Op("ne", (found[0], Const(0)))
            case _:
                return TRUE, FALSE


def _compare(name: str, a: Interval, b: Interval) -> tuple[Expr, Expr]:
    match name:
        case "lt" | "le":
            return Op(name, (a[0], b[1])), Op(name, (a[1], b[0]))
        case "gt" | "ge":
            return Op(name, (a[1], b[0])), Op(name, (a[0], b[1]))
        case _:
            overlap = conjunction(Op("le", (a[0], b[1])), Op("le", (b[0], a[1])))
            equal = conjunction(Op("eq", (a[0], b[1])), Op("eq", (a[1], b[0])))
            return (overlap, equal) if name == "eq" else (negation(equal), negation(overlap))


def interval_test(predicate: Expr, params: Values, cascade: Cascade) -> IntervalTest:
    """The test of a total predicate over tiles."""
    intervals = _Intervals(cascade, params)
    possible, certain = intervals.test(predicate)
    return IntervalTest(possible, certain, tuple(intervals.extrema.values()))
