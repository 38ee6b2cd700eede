"""Live elements as a formula in the sizes and params, derived: sums of the lengths of intervals with linear ends.

A term of a plan leaves each row i an interval ``[max of lowers, min of uppers]``. Every bound is linear in i on a few
stretches of rows (min, max, abs and clamp part them), so that the length is, on each stretch, ``max(0, a*i + b)``:

    sum over i = A .. B of max(0, i + b)  =  T(B + b) - T(A + b - 1),    T(x) = max(0, x) * (max(0, x) + 1) / 2

Terms are joined by inclusion and exclusion, and streams that share no row index multiply. The result is a polynomial
between breakpoints, which ``Max`` and ``Min`` keep. What is not of this form has none, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import sympy

from attn_dsl.analysis.iteration import IterationPlan, Term, plan_iteration
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Const, Expr, IndexVar, Op, ParamRef, Read, SizeOf
from attn_dsl.ir.printer import print_expr
from attn_dsl.ir.walk import index_names, walk

# sympy's own annotations are partial; its values are opaque to the rest of the package.
Symbolic = Any
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


def size_symbol(index: str) -> Symbolic:
    """The symbol of an index's size, printed as the language has it."""
    return sympy.Symbol(f"size({index})", integer=True, positive=True)


def param_symbol(name: str) -> Symbolic:
    """The symbol of a param."""
    return sympy.Symbol(name, integer=True)


def live_formula(
    predicate: Expr, indices: tuple[str, ...], streams: tuple[str, ...], params: Mapping[str, int | float | bool],
    cascade: Cascade,
) -> Symbolic:  # fmt: skip
    """The number of live elements over the indices, as a sympy expression. NoFormula says why there is none.
    ``params`` decide on signs alone: the formula holds for others of the same sign."""
    plan = plan_iteration(predicate, streams, params, cascade)
    return _Sum(plan, indices, streams).total()


def polynomial(
    formula: Symbolic, indices: tuple[str, ...], params: Mapping[str, int | float | bool]
) -> tuple[Symbolic, str] | None:  # fmt: skip
    """The formula where it is a polynomial: all sizes the same n, params positive and small beside it, if need be in
    the order of their values; with that condition in words. None where even then it has breakpoints."""
    quotients = {q: param_symbol(str(q)) for q in formula.atoms(sympy.floor)}  # window // 2, of no row
    plain = formula.subs(quotients)
    known = {param_symbol(name): value for name, value in params.items()}
    values = {s: known.get(s) for s in plain.free_symbols if not s.name.startswith("size(")}
    values |= {s: q.subs(known) for q, s in quotients.items() if s in values}
    if any(v is None or not v > 0 for v in values.values()):
        return None
    ordered = sorted(values, key=lambda s: (values[s], str(s)))
    equal = " = ".join(("n", *(str(size_symbol(i)) for i in indices)))
    equal += f" > {4 * sum(ordered) + 4}" if ordered else ""
    for chained in (False, True):
        found = _far_from_breakpoints(plain, indices, ordered, values, chained=chained)
        if found is not None:
            order = "".join(
                f"{s} {'<' if values[s] < values[t] else '<='} " for s, t in pairwise(ordered)
            ) + str(ordered[-1] if ordered else "")
            return found, equal + (f", {order}" if chained else "")
    return None


def _far_from_breakpoints(
    formula: Symbolic, indices: tuple[str, ...], ordered: list[Symbolic], values: Mapping[Symbolic, Any], *,
    chained: bool,
) -> Symbolic | None:  # fmt: skip
    """The polynomial where all params are positive, ``chained``: each the one before and something more."""
    steps: list[Symbolic] = []
    for at, symbol in enumerate(ordered):
        equal = chained and at > 0 and values[symbol] == values[ordered[at - 1]]
        steps.append(sympy.Dummy(integer=True, **({"nonnegative": True} if equal else {"positive": True})))
    placed = {
        s: sum(steps[: at + 1], sympy.Integer(0)) if chained else steps[at] for at, s in enumerate(ordered)
    }
    back = {
        step: s - (ordered[at - 1] if chained and at else 0)
        for at, (step, s) in enumerate(zip(steps, ordered, strict=True))
    }
    rest, n = sympy.Dummy(integer=True, positive=True), sympy.Symbol("n", integer=True, positive=True)
    most = 4 * sum(placed.values(), sympy.Integer(0)) + 4
    sizes = {size_symbol(i): most + rest for i in indices}
    found = formula.subs({**placed, **sizes}, simultaneous=True)
    if found.has(sympy.Max, sympy.Min, sympy.Piecewise, sympy.floor, sympy.ceiling):
        return None
    return sympy.factor(sympy.expand(found.subs(rest, n - most).subs(back)))


class _Sum:
    def __init__(self, plan: IterationPlan, indices: tuple[str, ...], streams: tuple[str, ...]) -> None:
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
        high = [_Piece(_Linear(0, size_symbol(stream) - 1))]
        for limit in lower:
            low = _extreme(low, _pieces(limit, row), largest=True)
        for limit in upper:
            high = _extreme(high, _pieces(limit, row), largest=False)
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
                _Piece(p.value, (*p.conditions, *c)) for p in pieces for c in _condition(condition, row)
            ]
        return sum((_over_rows(row, piece) for piece in _few(pieces)), sympy.Integer(0))


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


def _over_rows(row: str | None, piece: _Piece) -> Symbolic:
    """The sum of ``max(0, value)`` over the rows of a piece."""
    first: Symbolic = sympy.Integer(0)
    last: Symbolic = sympy.Integer(0) if row is None else size_symbol(row) - 1
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


def _pieces(expr: Expr, row: str | None) -> list[_Piece]:
    match expr:
        case Const(value=value):
            return [_Piece(_Linear(0, sympy.Integer(int(value))))]
        case ParamRef(name=name):
            return [_Piece(_Linear(0, param_symbol(name)))]
        case SizeOf(index=index):
            return [_Piece(_Linear(0, size_symbol(index)))]
        case IndexVar(name=name) if name == row:
            return [_Piece(_Linear(1, sympy.Integer(0)))]
        case Op(name="add" | "sub" as name, args=(a, b)):
            sign = 1 if name == "add" else -1
            return _combined(a, b, row, lambda x, y: x.plus(y, sign))
        case Op(name="neg", args=(a,)):
            return [_Piece(_Linear(-p.value.slope, -p.value.start), p.conditions) for p in _pieces(a, row)]
        case Op(name="mul", args=(a, b)):
            return _combined(a, b, row, lambda x, y: _product(x, y, expr))
        case Op(name="floordiv" | "mod" as name, args=(a, b)):
            return _combined(a, b, row, lambda x, y: _quotient(name, x, y, expr))
        case Op(name="min" | "max" as name, args=args):
            found = _pieces(args[0], row)
            for other in args[1:]:
                found = _extreme(found, _pieces(other, row), largest=name == "max")
            return found
        case Op(name="clamp", args=(x, low, high)):
            least = _extreme(_pieces(x, row), _pieces(low, row), largest=True)
            return _extreme(least, _pieces(high, row), largest=False)
        case Op(name="abs", args=(a,)):
            return _pieces(Op("max", (a, Op("neg", (a,)))), row)
        case _:
            raise NoFormula(_why(expr))


def _why(expr: Expr) -> str:
    data = next((n.tensor for n in walk(expr) if isinstance(n, Read)), None)
    return f"it depends on data, {data}" if data else f"not linear in its row: {print_expr(expr)}"


def _combined(a: Expr, b: Expr, row: str | None, join: Callable[[_Linear, _Linear], _Linear]) -> list[_Piece]:
    return [
        _Piece(join(x.value, y.value), (*x.conditions, *y.conditions))
        for x in _pieces(a, row) for y in _pieces(b, row)
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


def _condition(expr: Expr, row: str | None) -> Iterator[tuple[_Linear, ...]]:
    """A condition on the row as alternatives, of which at most one holds at a time."""
    if not isinstance(expr, Op) or expr.name not in ("lt", "le", "gt", "ge"):
        raise NoFormula(f"a condition on rows: {print_expr(expr)}")
    a, b = expr.args if expr.name in ("lt", "le") else expr.args[::-1]
    strict = 1 if expr.name in ("lt", "gt") else 0
    for piece in _pieces(Op("sub", (b, a)), row):
        yield (*piece.conditions, _Linear(piece.value.slope, piece.value.start - strict))
