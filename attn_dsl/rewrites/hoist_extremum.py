"""Move positive factors and constant terms out of a maximum or minimum.

    m[i] max= s[i,j] / sqrt(size(d)) + a[i]     ->      m_max[i] max= s[i,j]
                                                        m[i] = m_max[i] / sqrt(size(d)) + a[i]

Scaling by a positive number and shifting keep the order, in floating point too. The exponent of a softmax
then scales the difference of score and maximum by one constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attn_dsl.ir.cascade import Cascade, Einsum, Statement
from attn_dsl.ir.expr import Expr, IndexVar
from attn_dsl.rewrites.algebra import (
    ONE,
    Factor,
    Term,
    conjunction,
    factors,
    product,
    terms,
    total,
)
from attn_dsl.rewrites.definitions import (
    Definitions,
    Replacements,
    fresh_name,
    unchanged,
    whole_read,
)
from attn_dsl.rewrites.factoring import invariant_in
from attn_dsl.rewrites.signs import is_positive


@dataclass(frozen=True, slots=True)
class Scale:
    """``x -> x * product(parts)``, a positive factor."""

    parts: tuple[Factor, ...]


@dataclass(frozen=True, slots=True)
class Shift:
    """``x -> x + total(parts)``."""

    parts: tuple[Term, ...]


Layer = Scale | Shift


@dataclass(frozen=True, slots=True)
class Peeled:
    """A body as layers, the outermost first, around a core. ``guards``: of definitions looked through."""

    layers: tuple[Layer, ...]
    core: Expr
    guards: tuple[Expr, ...] = ()


def hoist_extremum(cascade: Cascade) -> Cascade:
    """Hoist out of every maximum and minimum."""
    definitions = Definitions(cascade)
    taken: set[str] = set()

    def rule(group: tuple[Statement, ...]) -> Replacements:
        return _hoist_group(cascade, definitions, group, taken)

    return definitions.replaced(rule)


def _hoist_group(
    cascade: Cascade, definitions: Definitions, group: tuple[Statement, ...], taken: set[str]
) -> Replacements:
    extrema = [
        s
        for s in group
        if isinstance(s, Einsum) and s.reduce is not None and s.reduce.rule.direction and s.over
    ]
    if len(extrema) < len(group):
        return unchanged(group)
    peeled = [_peel(s.body, invariant_in(s), definitions) for s in extrema]
    layers = peeled[0].layers
    if not layers or any(p.layers != layers for p in peeled):
        return unchanged(group)
    first, last = extrema[0], extrema[-1]
    assert first.reduce is not None
    name = fresh_name(cascade, f"{first.target}_{first.reduce.rule.word}", taken)
    taken.add(name)
    inner = [
        Einsum(name, s.dims, s.keys, s.reduce, s.over, p.core, conjunction((s.where, *p.guards)), s.span)
        for s, p in zip(extrema, peeled, strict=True)
    ]
    keys = tuple(IndexVar(d) for d in last.dims)
    body = _wrap(whole_read(name, last.dims), layers)
    outer = Einsum(last.target, last.dims, keys, None, (), body, None, last.span)
    return (*((s,) for s in inner[:-1]), (inner[-1], outer))


def _wrap(core: Expr, layers: tuple[Layer, ...]) -> Expr:
    for layer in reversed(layers):
        match layer:
            case Scale(parts=parts):
                core = product((Factor(core), *parts))
            case Shift(parts=parts):
                core = total((Term(core), *parts))
    return core


def _peel(expr: Expr, invariant: Callable[[Expr], bool], definitions: Definitions) -> Peeled:
    """Take layers off until neither a positive factor nor a term is free of the reduced indices."""
    if isinstance(target := definitions.pointwise(expr), Einsum):
        inner = _peel(target.body, invariant, definitions)
        guards = inner.guards + (() if target.where is None else (target.where,))
        return Peeled(inner.layers, inner.core, guards) if inner.layers else Peeled((), expr)
    layer, core = _outermost(expr, invariant, definitions)
    if layer is None:
        return Peeled((), expr)
    inner = _peel(core, invariant, definitions)
    return Peeled((layer, *inner.layers), inner.core, inner.guards)


def _outermost(
    expr: Expr, invariant: Callable[[Expr], bool], definitions: Definitions
) -> tuple[Layer | None, Expr]:
    free = [f for f in factors(expr) if invariant(f.expr) and is_positive(f.expr, definitions)]
    free = [f for f in free if f.expr != ONE]
    bound = [f for f in factors(expr) if f not in free]
    if free and any(not invariant(f.expr) for f in bound):
        return Scale(tuple(free)), product(bound)
    shifts = [t for t in terms(expr) if invariant(t.expr)]
    rest = [t for t in terms(expr) if not invariant(t.expr)]
    if shifts and rest:
        return Shift(tuple(shifts)), total(rest)
    return None, expr
