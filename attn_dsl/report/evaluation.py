"""The tensors of a cascade that a picture needs, by the dense reference, at sizes that memory holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from math import prod

import torch

from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.planning.dependence import Dependence
from attn_dsl.reference.dense import bind, definitions
from attn_dsl.reference.partial import Partial, Scope
from attn_dsl.reference.statements import define, space_of
from attn_dsl.report.pairs import Params
from attn_dsl.report.samples import Sample

MOST_PAIRS = 1 << 24  # in one picture
MOST_ELEMENTS = 1 << 26  # of one statement


def evaluated(cascade: Cascade, params: Params, drawn: Sample, tensors: Collection[str]) -> Scope:
    """A scope in which these tensors and all they depend on have values. ArgumentError where they are too
    large."""
    cascade = replace(cascade, inputs=tuple(i for i in cascade.inputs if i.name in drawn.arguments))
    flow = Dependence(cascade)
    needed = frozenset(tensors).union(*(flow.ancestors(t) for t in tensors))
    _require_small(cascade, needed, drawn.sizes)
    found: dict[str, Partial] = {}
    scope = Scope(params, drawn.sizes, found, (), torch.float64, torch.device("cpu"))
    found.update(bind(cascade, drawn.arguments, scope))
    for statements in definitions(cascade):
        if statements[0].target in needed:
            found[statements[0].target] = define(statements, cascade, scope)
    return scope


def made_up_behind(cascade: Cascade, drawn: Sample, tensors: Collection[str]) -> tuple[str, ...]:
    """The inputs that these tensors depend on and that were not given."""
    flow = Dependence(cascade)
    behind = frozenset(tensors).union(*(flow.ancestors(t) for t in tensors))
    return tuple(n for n in drawn.made_up if n in behind)


def require_drawable(names: tuple[str, ...], sizes: Mapping[str, int]) -> None:
    """ArgumentError where one picture would have too many points."""
    points = prod(sizes[n] for n in names)
    if points > MOST_PAIRS:
        raise ArgumentError(
            Diagnostic(
                f"{points:,} points ({_shown(names, sizes)}) are more than a picture shows",
                help=f"at most {MOST_PAIRS:,}: give smaller sizes",
            )
        )


def _require_small(cascade: Cascade, needed: Collection[str], sizes: Mapping[str, int]) -> None:
    spaces = {
        s.target: space_of(s) for s in cascade.statements if isinstance(s, Einsum) and s.target in needed
    }
    for target, space in spaces.items():
        elements = prod(sizes[n] for n in space)
        if elements > MOST_ELEMENTS:
            raise ArgumentError(
                Diagnostic(
                    f"'{target}' has {elements:,} elements to evaluate ({_shown(space, sizes)})",
                    help=f"at most {MOST_ELEMENTS:,}: give smaller sizes",
                )
            )


def _shown(names: tuple[str, ...], sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {sizes[name]}" for name in names)
