"""What is legal and probably not meant: masks that lose elements, maxima that are detached here and there,
declarations nobody uses."""

from __future__ import annotations

from attn_dsl.errors import Diagnostic
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Expr, IndexVar, SizeOf
from attn_dsl.ir.walk import walk
from attn_dsl.language import stabilisers
from attn_dsl.language.emptied import lost_places, masked_too_late
from attn_dsl.language.losing import lost_elements


def advice(cascade: Cascade) -> list[Diagnostic]:
    """The warnings about a legal cascade, each once for a place."""
    masks = dict.fromkeys((*lost_elements(cascade), *masked_too_late(cascade), *lost_places(cascade)))
    return [*masks, *stabilisers.advice(cascade), *_unused_indices(cascade)]


def _unused_indices(cascade: Cascade) -> list[Diagnostic]:
    used = {i for tensor in cascade.inputs for i in tensor.dims}
    for statement in cascade.statements:
        used |= {*statement.dims, *_named(statement.body), *_named(statement.where)}
    for index in cascade.indices:
        used |= {*_named(index.size), *_named(index.limit)}
    return [
        Diagnostic(f"index '{index.name}' is never used", index.span, "remove it", severity="warning")
        for index in cascade.indices
        if index.name not in used
    ]


def _named(expr: Expr | None) -> set[str]:
    """The indices whose value or size an expression needs."""
    nodes = () if expr is None else walk(expr)
    return {node.name if isinstance(node, IndexVar) else node.index for node in nodes
            if isinstance(node, (IndexVar, SizeOf))}  # fmt: skip
