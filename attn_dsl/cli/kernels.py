"""The kernels a cascade is cut into, described: their passes and what their loops visit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from attn_dsl.analysis.iteration import plan_iteration
from attn_dsl.analysis.report import describe_passes
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.planning import KernelPlan, ProgramPlan


def describe_kernels(plan: ProgramPlan, describe: Callable[[ProgramPlan, KernelPlan], str]) -> str:
    """A heading for each kernel, and what ``describe`` says of it."""
    blocks: list[str] = []
    for number, kernel in enumerate(plan.kernels, 1):
        stores = (*kernel.stores, *_sent(plan.cascade, kernel))
        heading = f"kernel {number}: rows {', '.join(kernel.rows)}; stores {', '.join(stores)}"
        blocks.append(f"{heading}\n{describe(plan, kernel)}")
    return "\n\n".join(blocks)


def _sent(cascade: Cascade, kernel: KernelPlan) -> Iterator[str]:
    """What a kernel sums at computed places."""
    sent = (cascade.sending(t) for t in kernel.targets)
    yield from dict.fromkeys(s.tensor for s in sent if s is not None)


def passes(plan: ProgramPlan, kernel: KernelPlan) -> str:
    """The passes over the streams, how accumulators follow, why a fold failed."""
    if not kernel.targets:
        return "no pass over a stream"
    return describe_passes(plan.cascade, plan.passes(kernel))


def ranges(plan: ProgramPlan, kernel: KernelPlan) -> str:
    """Which elements of its stream each reduction meets, as bounds where they are of closed form."""
    found: dict[str, list[str]] = {}
    for target, part in _streamed_parts(plan, kernel):
        stream = tuple(i for i in part.over if i in plan.roles.streams)
        visited = plan_iteration(plan.flow.guards.of(part), stream, plan.params, plan.cascade)
        # A presence is a pseudo-tensor in a guard, which the language has no name for.
        text = re.sub(r"present:(\w+\[[^]]*\])", r"\1 present", str(visited))
        found.setdefault(text, []).append(target)
    lines = [f"{', '.join(dict.fromkeys(targets))}: {text}" for text, targets in found.items()]
    return "\n".join(lines) or "no loop over a stream"


def _streamed_parts(plan: ProgramPlan, kernel: KernelPlan) -> Iterator[tuple[str, Einsum]]:
    for target in kernel.targets:
        for part in plan.cascade.definitions(target):
            if isinstance(part, Einsum) and set(part.over) & plan.roles.streams:
                yield target, part
