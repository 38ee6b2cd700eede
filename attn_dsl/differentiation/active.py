"""What takes part in differentiation: the real tensors that depend on the inputs of interest."""

from __future__ import annotations

from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.dtypes import Kind, dtype_kind
from attn_dsl.ir.expr import Read
from attn_dsl.ir.kinds import Kinds
from attn_dsl.rewrites.definitions import statement_reads


def differentiable_inputs(cascade: Cascade) -> tuple[str, ...]:
    """The inputs that can have a derivative: the floating ones."""
    return tuple(i.name for i in cascade.inputs if dtype_kind(i.dtype) is Kind.REAL)


def active_tensors(cascade: Cascade, wanted: frozenset[str]) -> frozenset[str]:
    """The inputs ``wanted``, and the real tensors computed from them."""
    kinds, reached = Kinds(cascade), set(wanted)
    for statement in cascade.statements:
        real = kinds.of(Read(statement.target, ())) is Kind.REAL
        if real and statement_reads(statement) & reached:
            reached.add(statement.target)
    return frozenset(reached)
