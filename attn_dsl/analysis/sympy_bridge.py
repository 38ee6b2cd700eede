"""Expressions to sympy and back, for the questions that need algebra.

What does not depend on the changing results enters as one symbol, however large it is: a *streamed* symbol
where it varies over the reduced indices, a *row* symbol where it does not. Exponentials are powers of two,
so that sympy collects their exponents by itself. Functions sympy should not reason about (it would assume
exact arithmetic or other domains) are left uninterpreted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sympy

from attn_dsl.ir.dtypes import Kind
from attn_dsl.ir.expr import Cast, Const, Detach, Expr, Op, Read
from attn_dsl.ir.operators import OPERATORS
from attn_dsl.ir.walk import index_names, tensors_read
from attn_dsl.rewrites.algebra import ONE, Factor, Term, product, total

# sympy's own annotations are partial; its values are opaque to the rest of the package.
Symbolic = Any

_LOG2_E = Const(1.4426950408889634)


class NoAlgebra(Exception):
    """The subexpression is nothing that sums, products and exponentials are made of."""

    def __init__(self, expr: Expr) -> None:
        super().__init__()
        self.expr = expr


@dataclass(slots=True)
class Bridge:
    """A translation of expressions in which the tensors of ``changing`` are variables."""

    changing: frozenset[str]
    over: frozenset[str]
    streamed: set[Symbolic] = field(default_factory=set[Symbolic])
    variables: dict[str, Symbolic] = field(default_factory=dict[str, Symbolic])
    _symbols: dict[Expr, Symbolic] = field(default_factory=dict[Expr, Symbolic])
    _meaning: dict[Symbolic, Expr] = field(default_factory=dict[Symbolic, Expr])

    def symbolic(self, expr: Expr) -> Symbolic:
        """The expression in sympy's terms. NoAlgebra where a changing result stands in a condition."""
        if not self.changing.intersection(tensors_read(expr)):
            return self._fixed(expr)
        match expr:
            case Read(tensor=tensor) if tensor in self.changing:
                return self._variable(expr)
            case Op(name=name, args=args) if OPERATORS[name].result is not Kind.BOOLEAN:
                return self._operator(expr, [self.symbolic(a) for a in args])
            case Detach(value=value) | Cast(dtype="f32" | "f64", value=value):
                return self.symbolic(value)
            case _:
                raise NoAlgebra(expr)

    def renamed(self, formula: Symbolic, prefix: str) -> Symbolic:
        """The formula over another state of the changing results."""
        table: dict[Symbolic, Symbolic] = {}
        for variable in self.variables.values():
            twin = sympy.Symbol(prefix + variable.name, real=True)
            meaning = self._meaning[variable]
            assert isinstance(meaning, Read)
            self._meaning[twin] = Read(prefix + meaning.tensor, meaning.indices)
            table[variable] = twin
        return formula.xreplace(table)

    def expression(self, formula: Symbolic) -> Expr:
        """A formula as an expression again, exponents collected into one power of two."""
        if formula.is_Symbol:
            return self._meaning[formula]
        if formula.is_Integer:
            return Const(int(formula))
        if formula.is_Rational:
            return Op("div", (Const(int(formula.p)), Const(int(formula.q))))
        if formula.is_Add:
            return total([self._term(a) for a in sorted(formula.args, key=str)])
        if formula.is_Mul or formula.is_Pow:
            return product(self._factors(formula))
        return Op(formula.func.__name__, tuple(self.expression(a) for a in formula.args))

    def _fixed(self, expr: Expr) -> Symbolic:
        if isinstance(expr, Const) and type(expr.value) is int:
            return sympy.Integer(expr.value)
        if isinstance(expr, Op) and expr.name == "neg":
            return -self._fixed(expr.args[0])  # so that c and -c are one symbol
        if expr not in self._symbols:
            # Named by what it stands for: sympy orders by name, so equal formulas come out equal everywhere.
            symbol = sympy.Symbol(repr(expr), real=True)
            self._symbols[expr] = symbol
            self._meaning[symbol] = expr
            if self.over.intersection(index_names(expr)):
                self.streamed.add(symbol)
        return self._symbols[expr]

    def _variable(self, read: Read) -> Symbolic:
        if read.tensor not in self.variables:
            symbol = sympy.Symbol(read.tensor, real=True)
            self.variables[read.tensor] = symbol
            self._meaning[symbol] = Read(read.tensor, read.indices)
        return self.variables[read.tensor]

    def _operator(self, expr: Op, args: list[Symbolic]) -> Symbolic:
        match expr.name, args:
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
            case "pow", [a, b] if b.is_Integer:
                return a**b
            case "exp2", [a]:
                return sympy.Pow(2, sympy.expand(a))
            case "exp", [a]:
                return sympy.Pow(2, sympy.expand(a * self._fixed(_LOG2_E)))
            case "sqrt", [a]:
                return sympy.sqrt(a)
            case "rsqrt", [a]:
                return 1 / sympy.sqrt(a)
            case name, _:
                return sympy.Function(name, real=True)(*args)

    def _term(self, formula: Symbolic) -> Term:
        if formula.could_extract_minus_sign():
            return Term(self.expression(-formula), negative=True)
        return Term(self.expression(formula))

    def _factors(self, formula: Symbolic) -> list[Factor]:
        exponent: Symbolic = sympy.Integer(0)
        parts: list[Factor] = []
        for factor in sympy.Mul.make_args(formula):
            base, power = factor.as_base_exp()
            if _is_power_of_two(base) and not power.is_Integer:
                exponent += power * (int(base).bit_length() - 1)
            else:
                parts += self._power(base, power)
        if exponent != 0:
            parts.append(Factor(Op("exp2", (self.expression(sympy.factor_terms(exponent)),))))
        return parts or [Factor(ONE)]

    def _power(self, base: Symbolic, power: Symbolic) -> list[Factor]:
        if power.is_Rational and not power.is_Integer and power.q == 2:
            return [
                Factor(Op("sqrt", (f.expr,)), f.inverted) for f in self._power(base, sympy.Integer(power.p))
            ]
        if power.is_Integer and abs(power) <= 4:
            if base.is_Integer and power == 1:
                return [Factor(Const(int(base)))]
            if base.is_Rational and power == 1:
                return [Factor(Const(int(base.p))), Factor(Const(int(base.q)), True)]
            return [Factor(self.expression(base), bool(power < 0))] * abs(int(power))
        return [Factor(Op("pow", (self.expression(base), self.expression(power))))]


def _is_power_of_two(number: Symbolic) -> bool:
    """Sympy writes ``2**(2*a)`` as ``4**a``."""
    return bool(number.is_Integer and number > 1 and int(number).bit_count() == 1)
