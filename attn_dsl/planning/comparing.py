"""Tensors of which two elements are compared with each other: these are stored.

What a file names once has one value. An element that is computed anew wherever it is read may be rounded in
another way there, which a sum does not notice and a comparison does:

    rank[c,u] += X[c,o] > X[c,u]       an element would count as greater than itself

There are at least as many comparisons as elements, so what is stored is never larger than the work it saves.
"""

from __future__ import annotations

from collections.abc import Iterator

from attn_dsl.ir.expr import Expr, Op, Read
from attn_dsl.ir.operators import COMPARISONS
from attn_dsl.ir.walk import substitute, walk
from attn_dsl.planning.dependence import Dependence


def compared(flow: Dependence) -> frozenset[str]:
    """The reductions of which elements at different places stand on both sides of a comparison."""
    found: set[str] = set()
    for statement in flow.cascade.statements:
        for expr in flow.evaluated(statement):
            for node in walk(expr):
                if isinstance(node, Op) and node.name in COMPARISONS:
                    found |= _on_both_sides(flow, *node.args)
    return frozenset(found)


def _on_both_sides(flow: Dependence, left: Expr, right: Expr) -> set[str]:
    mine, others = set(_reductions(flow, left)), set(_reductions(flow, right))
    return {a.tensor for a in mine for b in others if a.tensor == b.tensor and a.indices != b.indices}


def _reductions(flow: Dependence, expr: Expr) -> Iterator[Read]:
    """The reads of reductions that evaluating an expression makes, through what is pointwise."""
    for node in walk(expr):
        if not isinstance(node, Read) or node.tensor not in flow.by_target:
            continue
        if flow.over(node.tensor):
            yield node
            continue
        for part in flow.by_target[node.tensor]:
            values = dict(zip(part.dims, node.indices, strict=True))
            yield from _reductions(flow, substitute(part.body, values))
