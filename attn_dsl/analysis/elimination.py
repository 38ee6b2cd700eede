"""Whether a row has any element, by algebra: an index that is only asked for is solved for and goes.

    some j in 0 <= j < size(j) has   j <= i  and  i - j < w
    no lower bound exceeds an upper one:   0 <= i,   0 <= size(j) - 1,   i - w + 1 <= i,   i - w + 1 <= size(j) - 1
    of which remains                       0 < size(j)  and  0 < w  and  i - size(j) + 2 <= w

Exact over the integers, since every bound has the index itself on one side. The same sums of bounds tell
which conditions follow from others: at an element of the mask above all three hold, and need not be asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from math import gcd

from attn_dsl.analysis.integers import is_nonnegative
from attn_dsl.analysis.linear import linear_form, rebuild, solve
from attn_dsl.analysis.logic import FALSE, TRUE, conjunction, conjuncts, disjunction
from attn_dsl.analysis.predicates import Alternatives, Conjunction, is_integral
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Const, Expr, IndexVar, Op, SizeOf
from attn_dsl.ir.printer import print_expr
from attn_dsl.ir.walk import index_names

MAX_ARMS = 8
MAX_PAIRS = 24

Form = tuple[tuple[tuple[Expr, int], ...], int]
"""``terms + constant <= 0``, the terms in one order."""


def some(guard: Expr, over: Iterable[str], cascade: Cascade) -> Expr | None:
    """Whether an element along ``over`` meets the guard, without these indices; None where algebra does not
    tell."""
    waiting = list(dict.fromkeys(over))
    while waiting:
        found = next(((n, e) for n in waiting if (e := _without(guard, n, cascade)) is not None), None)
        if found is None:
            return None
        waiting.remove(found[0])
        guard = found[1]
    return guard


def _without(guard: Expr, index: str, cascade: Cascade) -> Expr | None:
    """Whether a value of one index meets the guard."""
    parts = conjuncts(guard)
    varying = [p for p in parts if index in index_names(p)]
    arms: list[Expr] = []
    for arm in _arms(tuple(varying), index, cascade):
        forms = _pairs(arm, index, cascade)
        if forms is None:
            return None
        others = (a for a in arm if index not in index_names(a))
        arms.append(conjunction(*others, *(_comparison(f) for f in _strongest(forms))))
    return conjunction(*(p for p in parts if p not in varying), disjunction(*arms))


def _arms(parts: tuple[Expr, ...], index: str, cascade: Cascade) -> list[Conjunction]:
    return Alternatives(frozenset({index}), {}, cascade, MAX_ARMS).of(conjunction(*parts))


def _pairs(arm: Conjunction, index: str, cascade: Cascade, *, exactly: bool = True) -> list[Form] | None:
    """No lower bound of the index exceeds an upper one. None where an atom is no bound, and the pairs must
    say ``exactly`` what the arm does."""
    lower: list[Expr] = [Const(0)]
    upper: list[Expr] = [Op("sub", (_size(index, cascade), Const(1)))]
    for atom in arm:
        if index not in index_names(atom):
            continue
        form = _signed(atom, cascade)
        bound = None if form is None else solve(form, frozenset({index}), {})
        if bound is not None:
            (upper if bound.upper else lower).append(bound.limit)
        elif exactly:
            return None
    if len(lower) * len(upper) > MAX_PAIRS:
        return None if exactly else []
    return [_form(Op("sub", (a, b)), cascade) for a in lower for b in upper]


def _signed(atom: Expr, cascade: Cascade) -> Expr | None:
    """A comparison of integers as an expression that is at most 0 where it holds."""
    if not is_integral(atom, cascade):
        return None
    match atom:
        case Op(name="le", args=(a, b)) | Op(name="ge", args=(b, a)):
            return Op("sub", (a, b))
        case Op(name="lt", args=(a, b)) | Op(name="gt", args=(b, a)):
            return Op("add", (Op("sub", (a, b)), Const(1)))
        case _:
            return None


def _size(index: str, cascade: Cascade) -> Expr:
    size = cascade.index(index).size if cascade.declares(index) else None
    return size if isinstance(size, Const) else SizeOf(index)


# linear forms


def _form(expr: Expr, cascade: Cascade) -> Form:
    """``expr <= 0``, reduced; with constants for sizes that are known."""
    terms, constant = linear_form(expr)
    for term in list(terms):
        if isinstance(term, SizeOf) and isinstance(size := _size(term.index, cascade), Const):
            constant += terms.pop(term) * int(size.value)
    common = reduce(gcd, terms.values(), 0)
    if common > 1:
        terms, constant = {t: c // common for t, c in terms.items()}, -(-constant // common)
    form = tuple(sorted(terms.items(), key=lambda item: print_expr(item[0]))), constant
    if _most(terms, constant, cascade) <= 0:
        return _ALWAYS
    return _NEVER if _most({t: -c for t, c in terms.items()}, 1 - constant, cascade) <= 0 else form


_ALWAYS: Form = (), 0
_NEVER: Form = (), 1
_ANYTHING = 1 << 64


def _most(terms: Mapping[Expr, int], constant: int, cascade: Cascade) -> int:
    """The greatest value of a linear form, with ``0 <= i <= size(i) - 1``; beyond all where it has none that
    is known."""
    left: dict[Expr, int] = {}
    for term, count in terms.items():
        if isinstance(term, IndexVar) and count > 0 and cascade.declares(term.name):
            size = _size(term.name, cascade)
            constant -= count
            if isinstance(size, Const):
                constant += count * int(size.value)
            else:
                left[size] = left.get(size, 0) + count
        else:
            left[term] = left.get(term, 0) + count
    bounded = all(c == 0 or (c < 0 and is_nonnegative(t, {})) for t, c in left.items())
    return constant if bounded else _ANYTHING


def _strongest(forms: Iterable[Form]) -> list[Form]:
    """Of forms with the same terms the one with the greatest constant."""
    found: dict[tuple[tuple[Expr, int], ...], int] = {}
    for terms, constant in forms:
        found[terms] = max(constant, found.get(terms, constant))
    return list(found.items())


def _comparison(form: Form) -> Expr:
    """A form as a comparison. What may have any number of bits, if it is one term, stands alone on its side:
    there no sum can leave 64 bits."""
    terms, constant = dict(form[0]), form[1]
    if not terms:
        return TRUE if constant <= 0 else FALSE
    large = [t for t, c in terms.items() if not isinstance(t, (IndexVar, SizeOf)) and abs(c) == 1]
    opaque = [t for t in terms if not isinstance(t, (IndexVar, SizeOf))]
    if len(opaque) == 1 and large:
        count = terms.pop(large[0])
        rest = (
            rebuild(terms, constant) if count < 0 else rebuild({t: -c for t, c in terms.items()}, -constant)
        )
        return _ordered(rest, large[0]) if count < 0 else _ordered(large[0], rest)
    left = {t: c for t, c in terms.items() if c > 0}
    right = {t: -c for t, c in terms.items() if c < 0}
    return _ordered(rebuild(left, max(constant, 0)), rebuild(right, max(-constant, 0)))


def _ordered(low: Expr, high: Expr) -> Expr:
    """``low <= high``."""
    return Op("lt", (Const(0), high)) if low == Const(1) else Op("le", (low, high))


# what follows


class Consequences:
    """Which conditions follow from others, at an element of a guard."""

    def __init__(self, cascade: Cascade) -> None:
        self._cascade = cascade
        self._facts: dict[tuple[Expr, ...], list[list[Form]]] = {}

    def left_out(self, guard: Expr, here: Iterable[str]) -> Expr:
        """The guard without the conditions that its others imply; ``here``: the indices of the element,
        besides those that the guard names."""
        parts = conjuncts(guard)
        named = dict.fromkeys((*(n for p in parts for n in index_names(p)), *here))
        kept: list[Expr] = []
        for at, part in enumerate(parts):
            others = (*kept, *parts[at + 1 :])
            if not (self._is_linear(part) and self._follows(part, others, tuple(named))):
                kept.append(part)
        return conjunction(*kept)

    def _is_linear(self, part: Expr) -> bool:
        match part:
            case Op(name="and" | "or", args=args):
                return all(map(self._is_linear, args))
            case _:
                return _signed(part, self._cascade) is not None

    def _follows(self, part: Expr, others: tuple[Expr, ...], named: tuple[str, ...]) -> bool:
        own = set(index_names(part))
        positive = [_form(Op("sub", (Const(1), _size(n, self._cascade))), self._cascade) for n in named]
        if self._holds(part, positive):
            return True
        for index in named:
            varying = tuple(p for p in others if index in index_names(p))
            if index in own or not varying:
                continue
            if all(self._holds(part, [*positive, *facts]) for facts in self._along(index, varying)):
                return True
        return False

    def _along(self, index: str, parts: tuple[Expr, ...]) -> list[list[Form]]:
        """What each alternative of these conditions says of all but one index."""
        key = (IndexVar(index), *parts)
        if key not in self._facts:
            self._facts[key] = [self._of(arm, index) for arm in _arms(parts, index, self._cascade)]
        return self._facts[key]

    def _of(self, arm: Conjunction, index: str) -> list[Form]:
        signed = (_signed(atom, self._cascade) for atom in arm)
        own = [_form(s, self._cascade) for s in signed if s is not None]
        return own + (_pairs(arm, index, self._cascade, exactly=False) or [])

    def _holds(self, part: Expr, facts: list[Form]) -> bool:
        match part:
            case Op(name="and", args=args):
                return all(self._holds(a, facts) for a in args)
            case Op(name="or", args=args):
                return any(self._holds(a, facts) for a in args)
            case _:
                signed = _signed(part, self._cascade)
                if signed is None:
                    return False
                terms, constant = _form(signed, self._cascade)
                weaker = (t == terms and c >= constant for t, c in facts)
                return (not terms and constant <= 0) or any(weaker)
