"""From a plan and what a program of it is specialised on to tile programs: kernel by kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attn_dsl.analysis.widths import NARROW, WIDE, Widths
from attn_dsl.codegen.kernel_text import KernelText
from attn_dsl.codegen.lowering.context import ProgramContext
from attn_dsl.codegen.lowering.kernel import KernelLowering
from attn_dsl.codegen.program import Buffer, Kernel
from attn_dsl.codegen.results import result_types
from attn_dsl.codegen.schedule import Schedule
from attn_dsl.codegen.schedule.tiling import Tiles
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.codegen.storage import Layouts
from attn_dsl.codegen.targets import target_of
from attn_dsl.planning.extents import with_own_extents
from attn_dsl.planning.partition import KernelPlan
from attn_dsl.planning.plan import ProgramPlan


@dataclass(frozen=True, slots=True)
class LoweredKernel:
    """One kernel before it is printed: its place in the cascade, its tiles, its tile program, how it is
    launched."""

    plan: KernelPlan
    tiles: Tiles
    text: KernelText
    launch: Kernel


@dataclass(frozen=True, slots=True)
class Lowering:
    """A program before it is printed. ``plan``: its own, at the sizes it is specialised on; ``contiguous``:
    as of a `Program`."""

    plan: ProgramPlan
    kernels: tuple[LoweredKernel, ...]
    buffers: tuple[Buffer, ...]
    contiguous: tuple[tuple[str, int], ...]


def lower(
    plan: ProgramPlan, specialisation: Specialisation, schedules: Sequence[Schedule] | None = None
) -> Lowering:
    """The tile programs of one specialisation; ``schedules``: one for each kernel, else all have the
    specialisation's. NotLoweredError names what has no kernel yet."""
    context = _context(plan, specialisation)
    steps = schedules or [specialisation.schedule] * len(plan.kernels)
    kernels: list[LoweredKernel] = []
    for number, (kernel, given) in enumerate(zip(context.plan.kernels, steps, strict=True)):
        name = f"{plan.cascade.name}_kernel" + (f"_{number}" if len(plan.kernels) > 1 else "")
        tiles, text, launch = KernelLowering(context, kernel).run(name, given)
        kernels.append(LoweredKernel(kernel, tiles, text, launch))
    inputs = ((i.name, context.storage[i.name]) for i in plan.cascade.inputs)
    contiguous = tuple((name, s.stride_divisor) for name, s in inputs if s.contiguous)
    return Lowering(context.plan, tuple(kernels), context.buffers, contiguous)


def _context(plan: ProgramPlan, spec: Specialisation) -> ProgramContext:
    """What all kernels of the program share."""
    sizes, dtypes = with_own_extents(plan.cascade, dict(spec.sizes)), dict(spec.dtypes)
    plan, target = plan.at(sizes), target_of(spec.architecture)
    types = result_types(plan.cascade, dtypes)
    widths = Widths(plan.cascade, dtypes, sizes, plan.params, WIDE if spec.wide else NARROW)
    layouts = Layouts(plan, types, dtypes, sizes, widths, target.machine.parts)
    buffers = layouts.buffers()
    held = {tensor: layouts.held(tensor) for tensor in types.kinds}
    return ProgramContext(plan, spec, sizes, target, types, held, widths, buffers, layouts.storage(buffers))


__all__ = ["LoweredKernel", "Lowering", "lower"]
