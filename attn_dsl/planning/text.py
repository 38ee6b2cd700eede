"""A plan as text: what ``attn show --plan`` prints.

held whole: d, e

kernel 1: a program for each b, h and tile of i; stores O
  pass 1: P_m max= over j, P_l += over j, O_sum += over j
    P_l follows P_m: P_l * exp2(...)
  P_m, P_l, O_sum visit all j
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attn_dsl.analysis.iteration import plan_iteration
from attn_dsl.analysis.report import describe_passes
from attn_dsl.ir.cascade import Einsum
from attn_dsl.planning.extents import FEW, SOME, Length
from attn_dsl.planning.partition import KernelPlan
from attn_dsl.planning.plan import ProgramPlan

_CLASSES = {
    Length.ONE: "1",
    Length.FEW: f"at most {FEW}",
    Length.SOME: f"at most {SOME}",
    Length.MANY: f"more than {SOME}",
}


def describe(plan: ProgramPlan) -> str:
    """The whole plan."""
    whole = ", ".join(plan.whole) or "nothing"
    lines = [f"held whole: {whole}"]
    if plan.extents.given:
        told = (f"{index} {_CLASSES[length]}" for index, length in sorted(plan.extents.given.items()))
        lines.append(f"for extents of: {'; '.join(told)}")
    blocks = ["\n".join(lines)]
    for number, kernel in enumerate(plan.kernels, 1):
        body = (*passes(plan, kernel).splitlines(), *_visits(plan, kernel))
        blocks.append("\n".join([_heading(plan, kernel, number), *(f"  {line}" for line in body)]))
    return "\n\n".join(blocks)


def describe_all_passes(plan: ProgramPlan) -> str:
    """The passes of every kernel alone."""
    kernels = enumerate(plan.kernels, 1)
    return "\n\n".join(f"{_heading(plan, k, number)}\n{passes(plan, k)}" for number, k in kernels)


def _heading(plan: ProgramPlan, kernel: KernelPlan, number: int) -> str:
    tile = f"tile of {', '.join(kernel.rows)}" if kernel.rows else ""
    each = " and ".join(filter(None, (", ".join(kernel.programs), tile)))
    sent = (plan.cascade.sending(t) for t in kernel.targets)
    stores = (*kernel.stores, *dict.fromkeys(s.tensor for s in sent if s is not None))
    programs = f"a program for each {each}" if each else "one program"
    return f"kernel {number}: {programs}; stores {', '.join(stores)}"


def passes(plan: ProgramPlan, kernel: KernelPlan) -> str:
    """The passes of a kernel over its streams, how accumulators follow, why a fold failed."""
    if not kernel.targets:
        return "no pass over a stream"
    return describe_passes(plan.cascade, plan.passes(kernel))


def _visits(plan: ProgramPlan, kernel: KernelPlan) -> Iterator[str]:
    """Which elements of its stream each reduction meets, as bounds where they are of closed form."""
    found: dict[str, list[str]] = {}
    for target, part in _streamed_parts(plan, kernel):
        stream = tuple(i for i in part.over if i in plan.roles.streams)
        visited = plan_iteration(plan.flow.guards.of(part), stream, plan.params, plan.cascade)
        # A presence is a pseudo-tensor in a guard, which the language has no name for.
        text = re.sub(r"present:(\w+\[[^]]*\])", r"\1 present", str(visited))
        found.setdefault(text, []).append(target)
    for text, targets in found.items():
        names = dict.fromkeys(targets)
        first, *more = text.splitlines()
        yield f"{', '.join(names)} {'visit' if len(names) > 1 else 'visits'} {first}"
        yield from (f"  {line}" for line in more)


def _streamed_parts(plan: ProgramPlan, kernel: KernelPlan) -> Iterator[tuple[str, Einsum]]:
    for target in kernel.targets:
        for part in plan.cascade.definitions(target):
            if isinstance(part, Einsum) and set(part.over) & plan.roles.streams:
                yield target, part
