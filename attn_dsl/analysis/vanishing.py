"""Whether what a reduction takes from an element is nothing where an extremum that it follows has met only
its identity.

    m max= S;   l += exp(S - m)          S = -inf:   exp(-inf - m) = 0   for every finite m

While ``m`` is still -inf, no value of it can stand in exp(S - m), and a kernel takes 0 instead. That is right
only if every element met so far then adds nothing, whatever stands there: the body must tend to 0 (to the
reduction's own identity, where corrections are differences) as the extremum's body tends to its identity. It
does so where, in the exponent,

    E = a * M + R,      a > 0,      R free of what M is made of

since M = -inf then leaves E = -inf, or NaN where R is infinite, which every other base would give too. In
``exp(B + m)`` there is no such ``a``: a row whose first keys have S = -inf counts their B all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from attn_dsl.ir.expr import Cast, Const, Detach, Expr, Op
from attn_dsl.ir.walk import index_names, tensors_read
from attn_dsl.rewrites.definitions import Definitions
from attn_dsl.rewrites.signs import is_positive

if TYPE_CHECKING:
    from attn_dsl.analysis.folding import Body

_LOG2_E = Const(1.4426950408889634)
# What is larger is not decided: a further pass is always right.
_TERMS, _NODES = 60, 200


def vanishes(
    body: Body,
    extremum: Expr,
    changing: frozenset[str],
    direction: Literal[-1, 1],
    definitions: Definitions,
    *,
    exponents: bool,
) -> bool:
    """Whether ``body`` is nothing where ``extremum`` is its identity. ``direction``: 1 where that is -inf and
    what shall vanish falls with it (or +inf, and rises), -1 where one rises as the other falls.
    ``exponents``: 0 is nothing, in every term; else the identity of an extremum, which the body itself must
    reach."""

    def shown(body: Body, extremum: Expr, opaque: frozenset[str] | None) -> bool:
        form = _form(body, extremum, opaque, exponents)
        return form is not None and _falls(form, direction, definitions)

    if shown(
        body, extremum, changing
    ):  # what is free of changing results as one symbol: cheap, and mostly enough
        return True
    spelt, limit = definitions.spelt_out(body.expr, _NODES), definitions.spelt_out(extremum, _NODES)
    return spelt is not None and limit is not None and shown(replace(body, expr=spelt), limit, None)


@dataclass(frozen=True, slots=True)
class _Form:
    """The ``a`` of each term, by what its symbols stand for."""

    slopes: tuple[Any, ...]
    meaning: dict[Any, Expr]


def _falls(form: _Form, direction: int, definitions: Definitions) -> bool:
    def above_zero(formula: Any) -> bool:
        if formula.is_number:
            return bool(formula > 0)
        if formula.is_Symbol:
            return is_positive(form.meaning[formula], definitions)
        if formula.is_Pow:
            return above_zero(formula.base)
        return (formula.is_Mul or formula.is_Add) and all(map(above_zero, formula.args))

    return all(above_zero(direction * slope) for slope in form.slopes)


@lru_cache(maxsize=512)
def _form(body: Body, extremum: Expr, changing: frozenset[str] | None, exponents: bool) -> _Form | None:
    """None where some term has no ``a``."""
    import sympy

    algebra = _Algebra(changing, body.over)
    limit, formula = sympy.expand(algebra.symbolic(extremum)), sympy.expand(algebra.symbolic(body.expr))
    terms = _terms(formula) if exponents else [formula]
    if len(_terms(formula)) + len(_terms(limit)) > _TERMS:
        return None
    parts = [_exponent(term) if exponents else term for term in terms]
    slopes = [None if p is None else _slope(p, limit, algebra.streamed) for p in parts]
    found = tuple(slope for slope in slopes if slope is not None)
    return _Form(found, algebra.meaning) if len(found) == len(slopes) else None


def _terms(formula: Any) -> list[Any]:
    import sympy

    return list(sympy.Add.make_args(formula))


def _exponent(term: Any) -> Any | None:
    """That of the powers of two among the factors of a term."""
    import sympy

    total: Any = sympy.Integer(0)
    for factor in sympy.Mul.make_args(term):
        base, power = factor.as_base_exp()
        if base.is_Integer and base > 1 and int(base).bit_count() == 1 and not power.is_Integer:
            total += power * (int(base).bit_length() - 1)
    return None if total == 0 else sympy.expand(total)


def _slope(exponent: Any, limit: Any, streamed: set[Any]) -> Any | None:
    """The ``a`` of ``exponent = a * limit + R``."""
    import sympy

    varying = limit.free_symbols & streamed
    apart = (
        streamed if varying else limit.free_symbols
    )  # a contribution that has no stream varies with its rows
    varying = varying or apart

    def parted(formula: Any) -> Iterator[tuple[Any, Any]]:
        """Each term as its coefficient and what varies in it."""
        return (term.as_independent(*apart, as_Add=False) for term in _terms(formula))

    if not varying:
        return None
    coefficient, monomial = next((c, m) for c, m in parted(limit) if m.free_symbols & varying)
    slope = sympy.cancel(sum(c for c, m in parted(exponent) if m == monomial) / coefficient)
    rest = sympy.expand(exponent - slope * limit)
    return None if slope == 0 or rest.free_symbols & varying else slope


@dataclass(slots=True)
class _Algebra:
    """A translation to sympy, in which what is neither sum nor product nor exponential is a symbol, and so
    is, where ``changing`` is given, what does not read these tensors. Exponentials are powers of two."""

    changing: frozenset[str] | None
    over: frozenset[str]
    streamed: set[Any] = field(default_factory=set[Any])
    meaning: dict[Any, Expr] = field(default_factory=dict[Any, Expr])

    def symbolic(self, expr: Expr) -> Any:
        import sympy

        if isinstance(expr, Const) and type(expr.value) is int:
            return sympy.Integer(expr.value)
        if self.changing is not None and not self.changing.intersection(tensors_read(expr)):
            return self._symbol(expr)
        match expr:
            case Op(name="add" | "sub" | "mul" | "div" | "neg" | "exp2" | "exp" as name, args=args):
                return self._operator(name, [self.symbolic(a) for a in args])
            case Op(name="pow", args=(base, Const(value=int(value)))):
                return self.symbolic(base) ** value
            case Detach(value=value) | Cast(dtype="f32" | "f64", value=value):
                return self.symbolic(value)
            case _:
                return self._symbol(expr)

    def _operator(self, name: str, args: list[Any]) -> Any:
        import sympy

        match name, args:
            case "add", [a, b]:
                return a + b
            case "sub", [a, b]:
                return a - b
            case "mul", [a, b]:
                return a * b
            case "div", [a, b]:
                return a / b
            case "neg", [a]:
                return -a
            case "exp2", [a]:
                return sympy.Pow(2, sympy.expand(a))
            case _, [a, *_]:
                return sympy.Pow(2, sympy.expand(a * self._symbol(_LOG2_E)))
            case _:
                raise AssertionError(name)

    def _symbol(self, expr: Expr) -> Any:
        """Named by what it stands for, so that equal parts of two bodies are one symbol; of a number, its
        size."""
        import sympy

        match expr:
            case Const(value=float(value)) if value < 0:
                return -self._symbol(Const(-value))
            case Detach(value=value):
                return self._symbol(value)
            case _:
                symbol = sympy.Symbol(repr(expr), real=True)
                self.meaning[symbol] = expr
                if self.over.intersection(index_names(expr)):
                    self.streamed.add(symbol)
                return symbol
