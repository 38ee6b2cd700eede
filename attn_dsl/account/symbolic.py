"""Live elements as a formula in the sizes and params, derived: sums of the lengths of intervals with linear
ends.

A term of a plan leaves each row i an interval ``[max of lowers, min of uppers]``. Every bound is linear in i
on a few stretches of rows (min, max, abs and clamp part them), so that the length is, on each stretch,
``max(0, a*i + b)``:

    sum over i = A .. B of max(0, i + b)  =  T(B + b) - T(A + b - 1),    T(x) = max(0, x) * (max(0, x) + 1) / 2

Terms are joined by inclusion and exclusion, and streams that share no row index multiply. The result is a
polynomial between breakpoints, which ``Max`` and ``Min`` keep. What is not of this form has none, and says
why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import lcm
from typing import Any

import sympy

from attn_dsl.analysis.iteration import IterationPlan, Term, plan_iteration
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Const, Expr, IndexVar, Op, ParamRef, Read, SizeOf
from attn_dsl.ir.printer import print_expr
from attn_dsl.ir.walk import index_names, walk

# sympy's own annotations are partial; its values are opaque to the rest of the package.
Symbolic = Any
Params = Mapping[str, int | float | bool]
_MOST_PIECES = 200
_MOST_TERMS = 4


class NoFormula(Exception):
    """There is no closed form; ``str`` says why."""


@dataclass(frozen=True, slots=True)
class _Linear:
    """``slope * i + start`` for the row index at hand."""

    slope: int
    start: Symbolic

    def plus(self, other: _Linear, sign: int = 1) -> _Linear:
        return _Linear(self.slope + sign * other.slope, self.start + sign * other.start)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A value, where every condition is at least 0."""

    value: _Linear
    conditions: tuple[_Linear, ...] = ()


Names = Mapping[str, Symbolic]


def size_symbol(index: str) -> Symbolic:
    """The symbol of an index's size, printed as the language has it."""
    return sympy.Symbol(f"size({index})", integer=True, positive=True)


def param_symbol(name: str) -> Symbolic:
    """The symbol of a param."""
    return sympy.Symbol(name, integer=True)


def live_formula(
    predicate: Expr, indices: tuple[str, ...], streams: tuple[str, ...], params: Params, cascade: Cascade
) -> Symbolic:
    """The number of live elements over the indices, as a sympy expression. NoFormula says why there is none.
    ``params`` decide on signs alone: the formula holds for others of the same sign."""
    names = {i: size_symbol(i) for i in _sizes(predicate, indices)}
    names |= {n: param_symbol(n) for n in _params(predicate)}
    return _Sum(plan_iteration(predicate, streams, params, cascade), indices, streams, names).total()


def polynomial(
    predicate: Expr, indices: tuple[str, ...], streams: tuple[str, ...], params: Params, cascade: Cascade
) -> tuple[Symbolic, str] | None:
    """The same where it is a polynomial: all sizes the same n, params positive, in the order of their values,
    of their remainders by what divides them, and small beside n; with that condition in words. None where it
    has breakpoints even then. Made anew, since sympy then knows every sign as it goes."""
    used = _params(predicate)
    if any(type(params[name]) is not int or params[name] < 1 for name in used):
        return None
    ordered = sorted(used, key=lambda name: (params[name], name))
    divisor = _divisor(predicate)
    # Each param is the one before and something more, a multiple of the divisor but for the remainders; of
    # unknowns that are at least 0, so that a sum with a positive constant shows its sign.
    steps = [sympy.Dummy(integer=True, nonnegative=True) for _ in ordered]
    names: dict[str, Symbolic] = {}
    back: dict[Symbolic, Symbolic] = {}
    before, symbol_before, value_before = sympy.Integer(0), sympy.Integer(0), 0
    for step, name in zip(steps, ordered, strict=True):
        value, symbol = int(params[name]), param_symbol(name)
        least = (value - value_before) % divisor or divisor
        names[name] = before + divisor * step + least if value > value_before else before
        if value > value_before:
            back[step] = (symbol - symbol_before - least) / divisor
            before, symbol_before, value_before = names[name], symbol, value
    most = 4 * sum((names[name] for name in ordered), sympy.Integer(0)) + 4
    beyond, n = sympy.Dummy(integer=True, nonnegative=True), sympy.Symbol("n", integer=True, positive=True)
    names |= {i: most + beyond + 1 for i in _sizes(predicate, indices)}
    try:
        found = _Sum(plan_iteration(predicate, streams, params, cascade), indices, streams, names).total()
    except NoFormula:
        return None
    if found.has(sympy.Max, sympy.Min, sympy.Piecewise, sympy.floor, sympy.ceiling, sympy.Mod):
        return None
    named = sympy.factor(sympy.expand(found.subs(beyond, n - most - 1).subs(back)))
    return named, _regime(indices, ordered, params, divisor)


def _regime(indices: tuple[str, ...], ordered: list[str], params: Params, divisor: int) -> str:
    """When the polynomial holds, in words."""
    parts = [" = ".join(("n", *(f"size({i})" for i in indices)))]
    if ordered:
        parts[0] += f" > {4 * sum(map(param_symbol, ordered)) + 4}"
    parts += [f"{a} {'<' if params[a] < params[b] else '='} {b}" for a, b in pairwise(ordered)]
    parts += [f"{p} % {divisor} = {int(params[p]) % divisor}" for p in ordered if divisor > 1]
    return ", ".join(parts)


def _params(predicate: Expr) -> tuple[str, ...]:
    return tuple(dict.fromkeys(n.name for n in walk(predicate) if isinstance(n, ParamRef)))


def _sizes(predicate: Expr, indices: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*indices, *(n.index for n in walk(predicate) if isinstance(n, SizeOf)))))


def _divisor(predicate: Expr) -> int:
    """What params are divided by: the least number that all constants of divisions divide."""
    found = 1
    for node in walk(predicate):
        match node:
            case Op(name="floordiv", args=(_, Const(value=int() as by))) if 0 < by <= 64:
                found = lcm(found, by)
            case _:
                pass
    return found


class _Sum:
    def __init__(
        self, plan: IterationPlan, indices: tuple[str, ...], streams: tuple[str, ...], names: Names
    ) -> None:
        self.names = names
        if len(plan.terms) > _MOST_TERMS:
            raise NoFormula(f"it has {len(plan.terms)} alternatives")
        for term in plan.terms:
            if term.residual:
                raise NoFormula(f"no bound: {print_expr(term.residual[0])}")
        self.plan, self.streams = plan, streams
        self.rows = tuple(i for i in indices if i not in streams)

    def total(self) -> Symbolic:
        result: Symbolic = sympy.Integer(0)
        for number in range(1, len(self.plan.terms) + 1):
            for chosen in combinations(self.plan.terms, number):
                result += (-1) ** (number + 1) * self._intersection(chosen)
        return result

    def _intersection(self, terms: tuple[Term, ...]) -> Symbolic:
        conditions = [c for t in terms for c in t.row_conditions]
        limits = {
            s: (
                [e for t in terms for b in t.bounds if b.index == s for e in b.lower],
                [e for t in terms for b in t.bounds if b.index == s for e in b.upper],
            )
            for s in self.streams
        }
        result: Symbolic = sympy.Integer(1)
        used: set[str] = set()
        for stream, (lower, upper) in limits.items():
            mine = {n for e in (*lower, *upper) for n in index_names(e)}
            if len(mine) > 1 or mine & used:
                raise NoFormula(f"the range of {stream} and another meet in the same rows")
            row = next(iter(mine), None)
            used |= mine
            own = [c for c in conditions if set(index_names(c)) == mine] if row else []
            result *= self._stream(stream, row, lower, upper, own)
        for row in self.rows:
            if row not in used:
                own = [c for c in conditions if set(index_names(c)) == {row}]
                result *= self._rows(row, own)
        counted = [c for c in conditions if len(set(index_names(c))) != 1]
        if counted:
            raise NoFormula(f"a condition of several rows: {print_expr(counted[0])}")
        return result

    def _stream(
        self, stream: str, row: str | None, lower: list[Expr], upper: list[Expr], conditions: list[Expr]
    ) -> Symbolic:
        low = [_Piece(_Linear(0, sympy.Integer(0)))]
        high = [_Piece(_Linear(0, self.names[stream] - 1))]
        for limit in lower:
            low = _extreme(low, _pieces(limit, row, self.names), largest=True)
        for limit in upper:
            high = _extreme(high, _pieces(limit, row, self.names), largest=False)
        lengths = [
            _Piece(_Linear(h.value.slope - l.value.slope, h.value.start - l.value.start + 1), (*h.conditions, *l.conditions))
            for h in high for l in low
        ]  # fmt: skip
        return self._added(row, lengths, conditions)

    def _rows(self, row: str, conditions: list[Expr]) -> Symbolic:
        return self._added(row, [_Piece(_Linear(0, sympy.Integer(1)))], conditions)

    def _added(self, row: str | None, pieces: list[_Piece], conditions: list[Expr]) -> Symbolic:
        for condition in conditions:
            pieces = [
                _Piece(p.value, (*p.conditions, *c))
                for p in pieces
                for c in _condition(condition, row, self.names)
            ]
        return sum((_over_rows(self._last(row), piece) for piece in _few(pieces)), sympy.Integer(0))

    def _last(self, row: str | None) -> Symbolic:
        return sympy.Integer(0) if row is None else self.names[row] - 1


def _few(pieces: list[_Piece]) -> list[_Piece]:
    """Without those whose conditions contradict each other plainly. NoFormula where there are too many."""
    kept = list(dict.fromkeys(_tightened(p) for p in pieces if not _is_empty(p)))
    if len(kept) > _MOST_PIECES:
        raise NoFormula(f"its ranges change their form at more than {_MOST_PIECES} places")
    return kept


def _is_empty(piece: _Piece) -> bool:
    """Whether two conditions leave no row: ``i >= a`` and ``i <= b`` with ``b < a``."""
    opposite = (
        x.start + y.start for x in piece.conditions for y in piece.conditions if x.slope == 1 and y.slope == -1
    )  # fmt: skip
    alone = (c.start for c in piece.conditions if c.slope == 0)
    return any(start.is_negative for start in (*alone, *opposite))


def _tightened(piece: _Piece) -> _Piece:
    """Without the conditions that others imply."""
    kept: list[_Linear] = []
    for condition in dict.fromkeys(piece.conditions):
        if condition.slope == 0 and condition.start.is_nonnegative:
            continue
        rivals = [k for k in kept if k.slope == condition.slope and (condition.start - k.start).is_Integer]
        if rivals and condition.start - rivals[0].start >= 0:
            continue
        kept = [k for k in kept if k not in rivals] + [condition]
    return _Piece(piece.value, tuple(kept))


def _over_rows(last: Symbolic, piece: _Piece) -> Symbolic:
    """The sum of ``max(0, value)`` over the rows of a piece, of those from 0 to the last."""
    first: Symbolic = sympy.Integer(0)
    certain: list[Symbolic] = []
    for condition in piece.conditions:
        slope, start = condition.slope, condition.start
        if slope == 0:
            certain.append(start)
        elif slope > 0:
            first = sympy.Max(first, -start if slope == 1 else sympy.ceiling(-start / slope))
        else:
            last = sympy.Min(last, start if slope == -1 else sympy.floor(start / -slope))
    last = sympy.Max(last, first - 1)
    value = piece.value
    if value.slope == 0:
        total = _ramp(value.start) * (last - first + 1)
    elif value.slope == 1:
        total = _triangle(last + value.start) - _triangle(first + value.start - 1)
    elif value.slope == -1:
        total = _triangle(value.start - first) - _triangle(value.start - last - 1)
    else:
        raise NoFormula(f"a range that grows by {abs(value.slope)} a row")
    for start in certain:
        if not start.is_nonnegative:
            total = sympy.Piecewise((total, start >= 0), (0, True))
    return total


def _ramp(x: Symbolic) -> Symbolic:
    return sympy.Max(0, x)


def _triangle(x: Symbolic) -> Symbolic:
    return _ramp(x) * (_ramp(x) + 1) / 2


# bounds as pieces


def _pieces(expr: Expr, row: str | None, names: Names) -> list[_Piece]:
    match expr:
        case Const(value=value):
            return [_Piece(_Linear(0, sympy.Integer(int(value))))]
        case ParamRef(name=name):
            return [_Piece(_Linear(0, names[name]))]
        case SizeOf(index=index):
            return [_Piece(_Linear(0, names[index]))]
        case IndexVar(name=name) if name == row:
            return [_Piece(_Linear(1, sympy.Integer(0)))]
        case Op(name="add" | "sub" as name, args=(a, b)):
            sign = 1 if name == "add" else -1
            return _combined(a, b, row, names, lambda x, y: x.plus(y, sign))
        case Op(name="neg", args=(a,)):
            return [
                _Piece(_Linear(-p.value.slope, -p.value.start), p.conditions) for p in _pieces(a, row, names)
            ]
        case Op(name="mul", args=(a, b)):
            return _combined(a, b, row, names, lambda x, y: _product(x, y, expr))
        case Op(name="floordiv" | "mod" as name, args=(a, b)):
            return _combined(a, b, row, names, lambda x, y: _quotient(name, x, y, expr))
        case Op(name="min" | "max" as name, args=args):
            found = _pieces(args[0], row, names)
            for other in args[1:]:
                found = _extreme(found, _pieces(other, row, names), largest=name == "max")
            return found
        case Op(name="clamp", args=(x, low, high)):
            least = _extreme(_pieces(x, row, names), _pieces(low, row, names), largest=True)
            return _extreme(least, _pieces(high, row, names), largest=False)
        case Op(name="abs", args=(a,)):
            return _pieces(Op("max", (a, Op("neg", (a,)))), row, names)
        case _:
            raise NoFormula(_why(expr))


def _why(expr: Expr) -> str:
    data = next((n.tensor for n in walk(expr) if isinstance(n, Read)), None)
    return f"it depends on data, {data}" if data else f"not linear in its row: {print_expr(expr)}"


def _combined(
    a: Expr, b: Expr, row: str | None, names: Names, join: Callable[[_Linear, _Linear], _Linear]
) -> list[_Piece]:
    return [
        _Piece(join(x.value, y.value), (*x.conditions, *y.conditions))
        for x in _pieces(a, row, names) for y in _pieces(b, row, names)
    ]  # fmt: skip


def _product(x: _Linear, y: _Linear, expr: Expr) -> _Linear:
    if x.slope == 0 and y.slope == 0:
        return _Linear(0, x.start * y.start)
    fixed, moving = (x, y) if x.slope == 0 else (y, x)
    if fixed.slope or not fixed.start.is_Integer:
        raise NoFormula(f"not linear in its row: {print_expr(expr)}")
    return _Linear(moving.slope * int(fixed.start), moving.start * fixed.start)


def _quotient(name: str, x: _Linear, y: _Linear, expr: Expr) -> _Linear:
    if x.slope or y.slope:
        raise NoFormula(f"a division of the row: {print_expr(expr)}")
    return _Linear(0, sympy.floor(x.start / y.start) if name == "floordiv" else sympy.Mod(x.start, y.start))


def _extreme(a: list[_Piece], b: list[_Piece], *, largest: bool) -> list[_Piece]:
    """The larger or smaller of two, parted where they cross; where they are equal, the first."""
    found: list[_Piece] = []
    for x in a:
        for y in b:
            rise = y.value.plus(x.value, -1)  # y - x
            above = _Linear(-rise.slope, -rise.start) if largest else rise  # the first is taken where >= 0
            below = _Linear(-above.slope, -above.start - 1)
            joint = (*x.conditions, *y.conditions)
            found += [_Piece(x.value, (*joint, above)), _Piece(y.value, (*joint, below))]
    return _few(list(dict.fromkeys(found)))


def _condition(expr: Expr, row: str | None, names: Names) -> Iterator[tuple[_Linear, ...]]:
    """A condition on the row as alternatives, of which at most one holds at a time."""
    if not isinstance(expr, Op) or expr.name not in ("lt", "le", "gt", "ge"):
        raise NoFormula(f"a condition on rows: {print_expr(expr)}")
    a, b = expr.args if expr.name in ("lt", "le") else expr.args[::-1]
    strict = 1 if expr.name in ("lt", "gt") else 0
    for piece in _pieces(Op("sub", (b, a)), row, names):
        yield (*piece.conditions, _Linear(piece.value.slope, piece.value.start - strict))
