"""Sizes for the whole indices where there are no arguments to take them from."""

from __future__ import annotations

from collections.abc import Mapping

from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.ir.cascade import Cascade
from attn_dsl.runtime.sizes import evaluate_size

FEATURES = 64


def typical_sizes(
    cascade: Cascade, params: Mapping[str, int | float | bool], whole: tuple[str, ...], given: Mapping[str, int]
) -> tuple[tuple[str, int], ...]:  # fmt: skip
    """The given sizes, those that are declared, and 64 for the rest. ArgumentError for an unknown index."""
    names = [i.name for i in cascade.indices]
    for name in given:
        if name not in names:
            raise ArgumentError(
                Diagnostic(
                    f"{cascade.name} has no index '{name}'",
                    help=f"indices: {', '.join(n for n in names if n[0] != '_')}",
                )
            )
    sizes: dict[str, int] = dict(given)
    for name in whole:
        declared = evaluate_size(cascade.index(name).size, params, sizes)
        sizes.setdefault(name, FEATURES if declared is None else declared)
    return tuple((name, sizes[name]) for name in whole)
