"""What a derivative stores must be linear in the lengths: no tensor over both the rows and the keys of a
mechanism, but where an argument or a result is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attn_dsl.codegen.program import Program
from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Const
from attn_dsl.planning import Plans, plans
from attn_dsl.planning.binding import means_as_sums
from attn_dsl.planning.dependence import Dependence
from attn_dsl.planning.extents import Extents
from attn_dsl.planning.keyed import with_sendings
from attn_dsl.planning.partition import contribution_streams
from attn_dsl.planning.roles import Roles, assign_roles, split_rows
from attn_dsl.rewrites import normal_form


@dataclass(frozen=True, slots=True)
class Pairs:
    """The indices of which a mechanism combines each with each, (row, key), where the extents of both are
    lengths, not fixed in the text (the elements of a window); the dims of its arguments and results, which
    may have both; and its plans, since what its own kernels store may have both too."""

    indices: frozenset[tuple[str, str]]
    given: tuple[frozenset[str], ...]
    plans: Plans

    def refuse(self, program: Program, cascade: Cascade, sizes: Mapping[str, int]) -> None:
        """NotLoweredError where the program of a derivative stores pairs. ``sizes``: of the call it is made
        for."""
        forward = self.plans.at(sizes)
        stored = (frozenset(forward.flow.dims(t)) for kernel in forward.kernels for t in kernel.stores)
        own = (*self.given, *stored)
        for buffer in program.buffers:
            dims = {i for axis in buffer.axes for i in axis}
            held = next(((r, k) for r, k in sorted(self.indices) if r in dims and k in dims), None)
            if held is None or any({*held} <= known for known in own):
                continue
            span = next((s.span for s in cascade.definitions(buffer.name)), None)
            raise NotLoweredError(
                Diagnostic(
                    f"this derivative would store '{buffer.name}' for all pairs of '{held[0]}' and '{held[1]}'",
                    span,
                    "take it through .reference(...)",
                )
            )


def pairs_of(cascade: Cascade) -> Pairs:
    """Those of a mechanism. NotLoweredError names what has no kernel."""
    found = plans(cascade, {})
    forward = found.at({}).cascade
    given = tuple(
        frozenset(i for a in t.axes for i in a.indices) for t in (*forward.inputs, *forward.outputs)
    )
    fixed = {i.name for i in cascade.indices if isinstance(i.size, Const)}
    # What is in parts combines nothing more.
    whole = Dependence(with_sendings(means_as_sums(normal_form(cascade))))
    roles = assign_roles(whole, Extents(whole.cascade))
    lengths = {pair for pair in combined(whole, roles) if not fixed & {*pair}}
    return Pairs(frozenset(lengths), given, found)


def combined(flow: Dependence, roles: Roles) -> frozenset[tuple[str, str]]:
    """The indices of which reductions combine each with each, (row, key)."""
    extents = Extents(flow.cascade)
    found: set[tuple[str, str]] = set()
    for target in roles.streamed:
        kept = tuple(d for d in flow.dims(target) if d not in roles.whole)
        for streams in contribution_streams(flow, roles, target):
            _, rows, _ = split_rows(flow, extents, kept, streams, roles.whole)
            found |= {(row, key) for row in rows for key in streams}
    return frozenset(found)
