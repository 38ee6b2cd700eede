"""Logarithms of exponentials, without the exponential: it may underflow, and then has no logarithm.

log(exp(y) / l)   ->  y - log(l)                log(sigmoid(x))  ->  -softplus(-x)
log(P[i,j]), P the softmax of X                 ->  X[i,j] - m[i] - log(l[i])

Exponentials are positive, so the rest of a product is positive where the whole is.
"""

from __future__ import annotations

from dataclasses import replace
from math import log

from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Const, Expr, Op
from attn_dsl.ir.walk import transform
from attn_dsl.rewrites.algebra import Factor, Term, factors, product, total
from attn_dsl.rewrites.definitions import Definitions, map_expressions

_EXPONENTIALS = frozenset({"exp", "exp2", "sigmoid"})
# How much a logarithm makes of a power of two, or of e.
_SCALES = {
    ("log", "exp2"): log(2), ("log2", "exp"): 1 / log(2), ("log2", "sigmoid"): 1 / log(2),
}  # fmt: skip


def logarithms(cascade: Cascade) -> Cascade:
    """Take the logarithm of every exponential factor, also behind a definition that has no guard of its
    own."""
    definitions = Definitions(cascade)

    def rule(node: Expr) -> Expr:
        match node:
            case Op(name="log" | "log2" as name, args=(argument,)):
                return _logarithm(name, argument, definitions) or node
            case _:
                return node

    return replace(
        cascade,
        statements=tuple(map_expressions(s, lambda e: transform(e, rule)) for s in cascade.statements),
    )


def _logarithm(name: str, argument: Expr, definitions: Definitions) -> Expr | None:
    """A sum in its place; None where no factor is an exponential."""
    parts = _positive_factors(argument, definitions)
    powers = [f for f in parts if _is_exponential(f)]
    if not powers:
        return None
    rest = [f for f in parts if f not in powers]
    terms = [_exponent(name, f) for f in powers]
    if rest:
        inverted = all(f.inverted for f in rest)
        inner = product([Factor(f.expr, f.inverted and not inverted) for f in rest])
        terms.append(Term(Op(name, (inner,)), inverted))
    return total(terms)


def _positive_factors(expr: Expr, definitions: Definitions) -> list[Factor]:
    """The factors, those of a definition in its place where one of them is an exponential."""
    found: list[Factor] = []
    for factor in factors(expr):
        made = definitions.pointwise(factor.expr)
        if made is None or made.where is not None:
            found.append(factor)
            continue
        inner = _positive_factors(made.body, definitions)
        opposite = [Factor(f.expr, f.inverted != factor.inverted) for f in inner]
        found += opposite if any(_is_exponential(f) for f in inner) else [factor]
    return found


def _is_exponential(factor: Factor) -> bool:
    return isinstance(factor.expr, Op) and factor.expr.name in _EXPONENTIALS


def _exponent(name: str, factor: Factor) -> Term:
    power = factor.expr
    assert isinstance(power, Op)
    (x,) = power.args
    scale = _SCALES.get((name, power.name))
    value = Op("softplus", (Op("neg", (x,)),)) if power.name == "sigmoid" else x
    value = value if scale is None else Op("mul", (value, Const(scale)))
    return Term(value, factor.inverted != (power.name == "sigmoid"))
