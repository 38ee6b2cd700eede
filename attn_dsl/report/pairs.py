"""The pairs of a mechanism: for each loop of its kernels, the rows it serves and where its elements exist.

    O[b,h,i,e] += P[b,h,i,j] * V[b,h,j,e]        rows (i,), stream (j,), guard  j <= i

Taken from the tile programs, so that a picture shows what a kernel visits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from attn_dsl.account.analysis import Request, lowered
from attn_dsl.account.call import example_sizes
from attn_dsl.account.presences import with_presences, without_certainties
from attn_dsl.account.values import Facts
from attn_dsl.codegen.generation import LoweredKernel, Lowering
from attn_dsl.codegen.tiles import Loop, Visits
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Expr
from attn_dsl.ir.walk import index_names

Params = Mapping[str, int | float | bool]


@dataclass(frozen=True, slots=True)
class PairLoop:
    """A loop over ``streams``, and the ``rows`` a program holds, each with the lanes of its tile.
    ``programs``: the indices that have one value a program; ``whole``: those that a tile holds whole (a pair
    is live where it is for any of them)."""

    stores: tuple[str, ...]
    programs: tuple[str, ...]
    rows: tuple[tuple[str, int], ...]
    streams: tuple[tuple[str, int], ...]
    whole: tuple[str, ...]
    visits: Visits

    @property
    def row_names(self) -> tuple[str, ...]:
        """The row indices."""
        return tuple(name for name, _ in self.rows)

    @property
    def stream_names(self) -> tuple[str, ...]:
        """The stream indices."""
        return tuple(name for name, _ in self.streams)

    @property
    def guard(self) -> Expr:
        """Where an element exists, as a total predicate."""
        return self.visits.guard

    @property
    def whole_in_guard(self) -> tuple[str, ...]:
        """The indices held whole that decide whether an element exists, or a bound."""
        exprs = [self.guard]
        for term in self.visits.plan.terms:
            exprs += [*term.row_conditions, *(e for b in term.bounds for e in (*b.lower, *b.upper))]
        used = {name for expr in exprs for name in index_names(expr)}
        return tuple(i for i in self.whole if i in used)

    @property
    def varies_with(self) -> frozenset[str]:
        """The indices beside the pair (batch, heads) that decide whether an element exists."""
        pair = {*self.row_names, *self.stream_names, *self.whole}
        return frozenset(index_names(self.guard)) - pair


def pair_loops(lowering: Lowering, facts: Facts) -> tuple[tuple[PairLoop, Facts], ...]:
    """The distinct loops of all kernels that serve some row, with what is known of the presences they ask
    for. Of the two loops of one plan, over full tiles and over the rest, the one that tests its tiles stands
    for both."""
    found: dict[tuple[object, ...], tuple[PairLoop, Facts]] = {}
    for kernel in lowering.kernels:
        loops = [i.visits for i in kernel.text.body.items if isinstance(i, Loop)]
        known = with_presences(facts, lowering.plan.flow, [v.guard for v in loops])
        for visits in loops:
            key = (kernel.plan.stores, kernel.plan.rows, visits.stream, visits.plan, visits.guard)
            if kernel.tiles.rows and (key not in found or visits.tested is not None):
                found[key] = _loop(kernel, visits, known), known
    return tuple(found.values())


def _loop(kernel: LoweredKernel, visits: Visits, facts: Facts) -> PairLoop:
    certain = replace(visits, guard=without_certainties(visits.guard, facts))
    streams = tuple((s, kernel.tiles.streams[s]) for s in visits.stream)
    stores = tuple(kernel.plan.stores) or tuple(kernel.plan.targets)
    return PairLoop(
        stores, kernel.plan.programs, kernel.tiles.rows, streams, tuple(kernel.tiles.whole), certain
    )


def example_loops(cascade: Cascade, params: Params) -> tuple[PairLoop, ...]:
    """The loops at example sizes: which indices are rows and streams. NotLoweredError where there is no
    kernel."""
    lowering, facts = lowered(Request(cascade, params, example_sizes(cascade, params, {})))
    return tuple(loop for loop, _ in pair_loops(lowering, facts))
