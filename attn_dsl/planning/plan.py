"""The plan of a program, as a value: ``plan(cascade, params)``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from attn_dsl.ir.cascade import Cascade, Output
from attn_dsl.planning.apart import with_own_indices
from attn_dsl.planning.binding import bind, launch_params
from attn_dsl.planning.contributions import with_own_loops
from attn_dsl.planning.dependence import Dependence
from attn_dsl.planning.extents import Extents, Length, length_of, like, with_own_extents
from attn_dsl.planning.keyed import kernel_form
from attn_dsl.planning.parting import with_parts
from attn_dsl.planning.partition import KernelPlan, contribution_streams, partition
from attn_dsl.planning.roles import Roles, assign_roles

if TYPE_CHECKING:
    from attn_dsl.analysis.passes import PassAnalysis

Params = Mapping[str, int | float | bool]
Presences = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, eq=False)
class ProgramPlan:
    """The kernels of a cascade, in the order in which they run.

    ``cascade``: the normal form they compute, with the params that shape the code as constants; what is
    ``saved`` is not among its outputs, since it is given. ``params``: those constants. ``presences``: tensors
    of which it is stored where they exist, and the indices that varies with; written where the tensor is
    computed, read where it is saved. ``extents``: what was known of them, and asked.
    """

    cascade: Cascade
    saved: tuple[Output, ...]
    params: Params
    presences: Presences
    flow: Dependence
    roles: Roles
    kernels: tuple[KernelPlan, ...]
    extents: Extents
    _at: dict[Any, ProgramPlan] = field(default_factory=dict[Any, "ProgramPlan"])

    @cached_property
    def shape(self) -> str:
        """All that tells it from another plan of the cascade, the same in every process."""
        roles = self.roles
        told = (sorted(roles.whole), sorted(roles.streams), roles.streamed, [str(k) for k in self.kernels])
        return str(told)

    @cached_property
    def whole(self) -> tuple[str, ...]:
        """The indices that a tile holds entirely: their extents are part of what a program is specialised
        on."""
        whole = {like(self.cascade, i) or i for i in self.roles.whole}
        return tuple(i.name for i in self.cascade.indices if i.name in whole)

    @cached_property
    def rows(self) -> frozenset[str]:
        """The indices that any kernel tiles over programs."""
        return frozenset(row for kernel in self.kernels for row in kernel.rows)

    @cached_property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """The indices of which kernels combine each with each, (row, key)."""
        return frozenset(
            (row, key)
            for kernel in self.kernels
            for target in kernel.targets
            for streams in contribution_streams(self.flow, self.roles, target)
            for row in kernel.rows
            for key in streams
        )

    def streams(self, kernel: KernelPlan) -> dict[str, frozenset[str]]:
        """The indices that each streamed reduction of a kernel goes through in a loop."""
        return {t: self.flow.over(t) & self.roles.streams for t in kernel.targets}

    @cached_property
    def _passes(self) -> dict[KernelPlan, PassAnalysis]:
        return {}

    def passes(self, kernel: KernelPlan) -> PassAnalysis:
        """How often a kernel walks over its streams, and how accumulators follow."""
        if kernel not in self._passes:
            from attn_dsl.analysis.passes import analyse_passes  # sympy

            self._passes[kernel] = analyse_passes(self.cascade, self.streams(kernel))
        return self._passes[kernel]

    def at(self, sizes: Mapping[str, int]) -> ProgramPlan:
        """The same plan where some extents are known: they are constants in its cascade, and nothing is
        planned again."""
        key = tuple(sorted(sizes.items()))
        if key not in self._at:
            from attn_dsl.rewrites.simplify import simplify

            cascade = simplify(bind(self.cascade, {}, with_own_extents(self.cascade, sizes)))
            self._at[key] = replace(self, cascade=cascade, flow=Dependence(cascade), _at={})
        return self._at[key]


def plan(
    cascade: Cascade, params: Params, presences: Presences = (), sizes: Mapping[str, int] | None = None
) -> ProgramPlan:
    """The plan of a cascade. ``params``: their values; those passed at launch stay open. ``sizes``: extents
    of which some may decide between two plans. NotLoweredError names the statement that no kernel can
    compute.

    Made once for this very cascade, these values and the classes of extents that were asked for.
    """
    return plans(cascade, params, presences).at(sizes or {})


def plans(cascade: Cascade, params: Params, presences: Presences = ()) -> Plans:
    """The plans of a cascade, of which ``plan`` gives one."""
    known = cascade.known.setdefault("plans", {})
    at_launch = launch_params(cascade)
    fixed = {n: v for n, v in params.items() if n not in at_launch}
    key = (tuple((n, type(v), v) for n, v in fixed.items()), presences)
    if key not in known:
        known[key] = Plans(cascade, fixed, presences)
    return known[key]


class Plans:
    """The plans of a cascade that differ in classes of extents alone. ``params``: those that shape the
    code."""

    def __init__(self, cascade: Cascade, fixed: Params, presences: Presences) -> None:
        formed = kernel_form(bind(cascade, fixed, {}))
        self._saved = tuple(o for o in formed.outputs if o.name in formed.saved)
        computed = tuple(o for o in formed.outputs if o.name not in formed.saved)
        self._cascade = replace(formed, outputs=computed)
        self.params, self._presences = fixed, presences
        self._known: dict[tuple[tuple[str, Length], ...], tuple[ProgramPlan, tuple[str, ...]]] = {}

    def at(self, sizes: Mapping[str, int]) -> ProgramPlan:
        """The plan for extents: an answer may raise another question."""
        given: dict[str, Length] = {}
        while True:  # once, for nearly every text: it is called with each call of a mechanism
            found, asked = self._of(given)
            lengths = {n: length_of(sizes[n]) for n in asked if n in sizes}
            if lengths.keys() <= given.keys():
                return found
            given |= lengths

    def _of(self, given: Mapping[str, Length]) -> tuple[ProgramPlan, tuple[str, ...]]:
        """The plan for these classes, and whose were asked for; the same where other classes gave an equal
        one."""
        key = tuple(sorted(given.items()))
        if key not in self._known:
            extents = Extents(self._cascade, given)
            found = planned(self._cascade, extents, self._saved, self.params, self._presences)
            equal = (p for p, _ in self._known.values() if p.shape == found.shape)
            self._known[key] = next(equal, found), tuple(extents.asked)
        return self._known[key]


def planned(
    cascade: Cascade, extents: Extents | None = None, saved: tuple[Output, ...] = (),
    params: Params | None = None, presences: Presences = (),
) -> ProgramPlan:  # fmt: skip
    """The plan of a cascade as it stands, in whatever form that is."""
    extents = extents or Extents(cascade)
    cascade = with_parts(cascade, extents)
    flow = Dependence(cascade)
    roles = assign_roles(flow, extents)
    cascade = with_own_indices(cascade, flow, roles)
    cascade = with_own_loops(cascade, roles.streams)
    flow = Dependence(cascade)
    roles, kernels = partition(cascade, flow, extents)
    return ProgramPlan(cascade, saved, params or {}, presences, flow, roles, kernels, extents)
