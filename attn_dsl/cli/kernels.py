"""The kernels a cascade is cut into, described: their passes and what their loops visit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from attn_dsl.analysis.iteration import plan_iteration
from attn_dsl.analysis.passes import analyse_passes
from attn_dsl.analysis.report import describe_passes
from attn_dsl.codegen.dependence import Dependence
from attn_dsl.codegen.partition import KernelPlan, partition
from attn_dsl.codegen.roles import Roles
from attn_dsl.codegen.scattering import with_sendings
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.rewrites import normal_form

Params = Mapping[str, int | float | bool]


@dataclass(frozen=True, slots=True)
class PlannedKernel:
    """One kernel of a cascade in normal form."""

    cascade: Cascade
    flow: Dependence
    roles: Roles
    plan: KernelPlan
    params: Params


def describe_kernels(cascade: Cascade, params: Params, describe: Callable[[PlannedKernel], str]) -> str:
    """A heading for each kernel, and what ``describe`` says of it."""
    computed = tuple(o for o in cascade.outputs if o.name not in cascade.saved)
    cascade = with_sendings(normal_form(replace(cascade, outputs=computed)))
    flow = Dependence(cascade)
    roles, plans = partition(cascade, flow)
    blocks: list[str] = []
    for number, plan in enumerate(plans, 1):
        heading = f"kernel {number}: rows {', '.join(plan.rows)}; stores {', '.join((*plan.stores, *_sent(cascade, plan)))}"
        blocks.append(f"{heading}\n{describe(PlannedKernel(cascade, flow, roles, plan, params))}")
    return "\n\n".join(blocks)


def _sent(cascade: Cascade, plan: KernelPlan) -> Iterator[str]:
    """What a kernel sums at computed places."""
    sent = (cascade.sending(t) for t in plan.targets)
    yield from dict.fromkeys(s.tensor for s in sent if s is not None)


def passes(kernel: PlannedKernel) -> str:
    """The passes over the streams, how accumulators follow, why a fold failed."""
    streams = {t: kernel.flow.over(t) & kernel.roles.streams for t in kernel.plan.targets}
    if not streams:
        return "no pass over a stream"
    return describe_passes(kernel.cascade, analyse_passes(kernel.cascade, streams))


def ranges(kernel: PlannedKernel) -> str:
    """Which elements of its stream each reduction meets, as bounds where they are of closed form."""
    found: dict[str, list[str]] = {}
    for target, part in _streamed_parts(kernel):
        stream = tuple(i for i in part.over if i in kernel.roles.streams)
        plan = plan_iteration(kernel.flow.guards.of(part), stream, kernel.params, kernel.cascade)
        # A presence is a pseudo-tensor in a guard, which the language has no name for.
        text = re.sub(r"present:(\w+\[[^]]*\])", r"\1 present", str(plan))
        found.setdefault(text, []).append(target)
    lines = [f"{', '.join(dict.fromkeys(targets))}: {text}" for text, targets in found.items()]
    return "\n".join(lines) or "no loop over a stream"


def _streamed_parts(kernel: PlannedKernel) -> Iterator[tuple[str, Einsum]]:
    for target in kernel.plan.targets:
        for part in kernel.cascade.definitions(target):
            if isinstance(part, Einsum) and set(part.over) & kernel.roles.streams:
                yield target, part
