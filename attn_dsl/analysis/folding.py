"""Whether a reduction can follow an earlier result while that still changes, and by which correction.

    acc = sum_j f(x_j; r).    When r becomes r', the sum so far is right again after
    acc * ratio,   ratio = f(x; r') / f(x; r),   if the ratio does not depend on x        (sums and means)
    acc + shift,   shift = f(x; r') - f(x; r),   if the shift does not                    (max and min)
    acc * ratio                                  if the ratio is positive too             (max and min)

For ``exp(x - m)`` the ratio is ``exp(m - m')``: the online softmax (Milakov and Gimelshein, 2018), derived.
Algebra alone would also accept ``x * r``, whose ratio ``r'/r`` fails at r = 0: what divides must be proved
positive. And it says nothing of the moment at which r is still an extremum's identity: see ``vanishing``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from attn_dsl.ir.expr import Detach, Expr, Op
from attn_dsl.ir.operators import OPERATORS
from attn_dsl.ir.reductions import FoldKind, Reduction
from attn_dsl.ir.walk import index_names, tensors_read

if TYPE_CHECKING:
    from attn_dsl.analysis.sympy_bridge import Bridge

OLD, NEW = "old:", "new:"
_NODES = 40
_TOTAL_FUNCTIONS = frozenset(o.name for o in OPERATORS.values() if o.total)


@dataclass(frozen=True, slots=True)
class Body:
    """The body of one contribution, its pointwise definitions filled in."""

    expr: Expr
    over: frozenset[str]


@dataclass(frozen=True, slots=True)
class Correction:
    """How to repair an accumulator; ``expr`` None: the body does not really depend on the results."""

    kind: FoldKind
    expr: Expr | None


class Obstacle(Exception):
    """No correction exists; ``why`` says so in words, about ``culprit`` where one subexpression is to
    blame."""

    def __init__(self, why: str, culprit: Expr | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.culprit = culprit


@dataclass(frozen=True, slots=True)
class _Change:
    """What f(x; r') is to f(x; r), free of x, with the translation it is written in."""

    formula: Any
    bridge: Bridge


def correction(
    reduce: Reduction | None,
    bodies: tuple[Body, ...],
    changing: frozenset[str],
    positive: Callable[[Expr], bool],
) -> Correction:
    """The one correction that repairs every contribution. Obstacle where there is none."""
    obstacle = Obstacle("only a sum, mean, maximum or minimum can be corrected")
    if reduce is None:
        raise obstacle
    for kind in reversed(reduce.rule.corrections):  # of several obstacles, that of the first is told
        try:
            return _correction(kind, bodies, changing, positive, reduce.rule.direction != 0)
        except Obstacle as why:
            obstacle = why
    raise obstacle


def _correction(
    kind: FoldKind,
    bodies: tuple[Body, ...],
    changing: frozenset[str],
    positive: Callable[[Expr], bool],
    of_extremum: bool,
) -> Correction:
    found: list[Expr | None] = []
    changes: list[_Change] = []
    for body in bodies:
        change = _change(kind, body, changing)
        if isinstance(change, Obstacle):
            raise Obstacle(change.why, change.culprit)
        _require_defined(change, positive)
        if kind == "ratio" and of_extremum and not change.formula.is_positive:
            raise Obstacle("its correction may change the order of its elements")
        neutral = 1 if kind == "ratio" else 0
        found.append(None if change.formula == neutral else change.bridge.expression(change.formula))
        changes.append(change)
    first = found[0]
    if any(other != first for other in found):
        raise Obstacle("its contributions need different corrections")
    return Correction(kind, first)


@lru_cache(maxsize=512)
def _change(kind: FoldKind, body: Body, changing: frozenset[str]) -> _Change | Obstacle:
    from attn_dsl.analysis.sympy_bridge import Bridge, NoAlgebra

    bridge = Bridge(changing, body.over)
    try:
        formula = bridge.symbolic(body.expr)
    except NoAlgebra as error:
        return Obstacle("it decides by a value that is not final yet", error.expr)
    if _node_count(formula) > _NODES:
        return Obstacle(f"its dependence has more than {_NODES} operations, too many to decide")
    old, new = bridge.renamed(formula, OLD), bridge.renamed(formula, NEW)
    compare = _ratio if kind == "ratio" else _difference
    for candidate in compare(old, new):
        if not candidate.free_symbols & bridge.streamed and not _is_undefined(candidate):
            return _Change(candidate, bridge)
    return Obstacle(_not_separable(kind), _culprit(kind, body, changing))


def _not_separable(kind: FoldKind) -> str:
    parts = "factor" if kind == "ratio" else "term"
    return f"its dependence is no {parts} of its own"


def _ratio(old: Any, new: Any) -> Iterator[Any]:
    """Candidates for the quotient in its simplest form, the cheapest first."""
    import sympy

    yield new / old
    numerator: Any = sympy.factor(sympy.expand(new))
    denominator: Any = sympy.factor(sympy.expand(old))
    yield numerator / denominator
    yield sympy.powsimp(sympy.cancel(sympy.together(new / old)))


def _difference(old: Any, new: Any) -> Iterator[Any]:
    import sympy

    yield new - old
    yield sympy.expand(new - old)
    yield sympy.cancel(sympy.together(sympy.expand(new - old)))


def _is_undefined(formula: Any) -> bool:
    import sympy

    return formula.has(sympy.zoo, sympy.nan, sympy.oo)


def _node_count(formula: Any) -> int:
    import sympy

    return sum(1 for _ in sympy.preorder_traversal(formula))


def _require_defined(change: _Change, positive: Callable[[Expr], bool]) -> None:
    """The correction must be a number whatever the results are on the way: no division by zero."""
    import sympy

    changing = {s for s in change.formula.free_symbols if s.name.startswith((OLD, NEW))}
    plain = {s: sympy.Symbol(s.name.removeprefix(OLD).removeprefix(NEW), real=True) for s in changing}

    def check(part: Any) -> None:
        if not part.free_symbols & changing:
            return
        whole = part.is_Pow and part.exp.is_Integer and part.exp > 0
        if part.is_Pow and not whole and not part.base.is_positive:
            divisor = change.bridge.expression(part.base.xreplace(plain))
            if not positive(divisor):
                raise Obstacle("the correction divides by a value that may be 0 on the way", divisor)
        elif part.is_Function and part.func.__name__ not in _TOTAL_FUNCTIONS:
            raise Obstacle(
                "the correction is not defined for every value on the way",
                change.bridge.expression(part.xreplace(plain)),
            )
        for argument in part.args:
            check(argument)

    check(change.formula)


def _culprit(kind: FoldKind, body: Body, changing: frozenset[str]) -> Expr | None:
    """The innermost factor to blame: the part that joins changing and streamed values."""
    expr = body.expr
    while True:
        joined = [part for part in _parts(kind, expr) if _joins(part, body.over, changing)]
        if len(joined) != 1 or joined[0] == expr:
            return expr
        expr = joined[0]


def _parts(kind: FoldKind, expr: Expr) -> tuple[Expr, ...]:
    match expr:
        case Op(name="mul" | "div", args=args) if kind == "ratio":
            return args
        case Op(name="add" | "sub", args=args) if kind == "difference":
            return args
        case Op(name="neg", args=args):
            return args
        case Detach(value=value):
            return (value,)
        case _:
            return (expr,)


def _joins(expr: Expr, over: frozenset[str], changing: frozenset[str]) -> bool:
    return bool(changing.intersection(tensors_read(expr)) and over.intersection(index_names(expr)))
