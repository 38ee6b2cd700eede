"""What a derivative stores must be linear in the lengths: no tensor over both the rows and the keys of a mechanism,
but where an argument or a result is one."""

from __future__ import annotations

from dataclasses import dataclass

from attn_dsl.codegen.dependence import Dependence
from attn_dsl.codegen.partition import KernelPlan, contribution_streams, partition
from attn_dsl.codegen.program import Program
from attn_dsl.codegen.roles import Roles
from attn_dsl.codegen.scattering import kernel_form
from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Const


@dataclass(frozen=True, slots=True)
class Pairs:
    """The indices of which a mechanism combines each with each, (row, key), where the extents of both are lengths, not
    fixed in the text (the elements of a window); and the dims of its own tensors, those that its kernels store included, which
    may have both."""

    indices: frozenset[tuple[str, str]]
    own: tuple[frozenset[str], ...]

    def refuse(self, program: Program, cascade: Cascade) -> None:
        """NotLoweredError where the program of a derivative stores pairs."""
        for buffer in program.buffers:
            dims = {i for axis in buffer.axes for i in axis}
            held = next(((r, k) for r, k in sorted(self.indices) if r in dims and k in dims), None)
            if held is None or any({*held} <= known for known in self.own):
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
    forward = kernel_form(cascade)
    flow = Dependence(forward)
    roles, plans = partition(forward, flow)
    tensors = (*forward.inputs, *forward.outputs)
    given = [frozenset(i for a in t.axes for i in a.indices) for t in tensors]
    stored = [frozenset(flow.dims(t)) for plan in plans for t in plan.stores]
    fixed = {i.name for i in cascade.indices if isinstance(i.size, Const)}
    lengths = {pair for pair in combined(flow, roles, plans) if not fixed & {*pair}}
    return Pairs(frozenset(lengths), (*given, *stored))


def combined(flow: Dependence, roles: Roles, plans: tuple[KernelPlan, ...]) -> frozenset[tuple[str, str]]:
    """The indices of which kernels combine each with each, (row, key)."""
    return frozenset(
        (row, key)
        for plan in plans
        for target in plan.targets
        for streams in contribution_streams(flow, roles, target)
        for row in plan.rows
        for key in streams
    )
