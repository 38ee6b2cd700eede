"""Drop the statements that no output needs.

A[i] = x[i];  B[i] = y[i];  output B      ->      B[i] = y[i];  output B
"""

from __future__ import annotations

from dataclasses import replace

from attn_dsl.analysis.logic import PRESENT
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.walk import tensors_read
from attn_dsl.rewrites.definitions import Definitions, statement_reads


def dead_statements(cascade: Cascade) -> Cascade:
    """Keep what outputs, extents and limits of indices depend on; named masks over dropped tensors go too."""
    definitions = Definitions(cascade)
    pending = [o.name for o in cascade.outputs]
    # What something is whose presence is given says where that is asked of others, too.
    pending += [t.removeprefix(PRESENT) for t in cascade.saved if t.startswith(PRESENT)]
    for index in cascade.indices:
        pending += [*tensors_read(index.size), *tensors_read(index.limit)]
    alive: set[str] = set()
    while pending:
        tensor = pending.pop()
        if tensor not in alive:
            alive.add(tensor)
            pending += [t for s in definitions.meaning(tensor) for t in statement_reads(s)]
    kept = tuple(s for s in cascade.statements if s.target in alive)
    known = alive | {i.name for i in cascade.inputs}
    masks = tuple(m for m in cascade.masks if set(tensors_read(m.predicate)) <= known)
    saved = tuple(t for t in cascade.saved if t.removeprefix(PRESENT) in alive)
    return replace(cascade, statements=kept, masks=masks, saved=saved)
