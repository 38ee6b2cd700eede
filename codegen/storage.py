"""Where the tensors of a program lie: its buffers, and the layout of everything that a kernel reads or
writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from attn_dsl.analysis.logic import PRESENT
from attn_dsl.analysis.widths import Widths, fits
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.program import DIGITS, PARTS, Buffer
from attn_dsl.codegen.results import ResultTypes, flag, output_buffer
from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Einsum
from attn_dsl.ir.dtypes import Kind, width
from attn_dsl.planning.partition import KernelPlan, leaf_reads
from attn_dsl.planning.plan import ProgramPlan


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a tensor in memory lies: its layout, dtype, and whether its innermost stride is one.
    ``stride_divisor``: what divides its other strides."""

    axes: tuple[tuple[str, ...], ...]
    dtype: str
    contiguous: bool
    stride_divisor: int


@dataclass(frozen=True, slots=True)
class Layouts:
    """What is stored by a plan, for inputs of these dtypes and ``sizes`` of what tiles hold whole. ``parts``:
    whether sums at computed places are taken in parts, each by one thread, as on a CPU."""

    plan: ProgramPlan
    types: ResultTypes
    dtypes: Mapping[str, str]
    sizes: Mapping[str, int]
    widths: Widths
    parts: bool

    def buffers(self) -> tuple[Buffer, ...]:
        """The outputs, what they come with, and what kernels hand to one another. NotLoweredError for a sum
        at computed places that a GPU does not take."""
        plan = self.plan
        outputs = {o.name: o for o in plan.cascade.outputs}
        found = [
            replace(output_buffer(o, self.types), collects=self._collects(o.name)) for o in outputs.values()
        ]
        shared = {t for p in plan.kernels for t in p.stores if self._is_read_later(t)}
        kept = {t: dims for t, dims in plan.presences if PRESENT + t not in plan.cascade.saved}
        found += [flag(t, dims, is_output=True) for t, dims in kept.items()]
        for tensor in (s for p in plan.kernels for s in p.stores):
            axes = tuple((d,) for d in plan.flow.dims(tensor))
            if tensor not in outputs and plan.cascade.sending(tensor) is None:
                found.append(Buffer(tensor, axes, self.held(tensor), False))
            if tensor in shared and tensor not in kept:
                found.append(flag(tensor, plan.flow.guards.varies_with(tensor), is_output=False))
        return tuple(found)

    def storage(self, buffers: tuple[Buffer, ...]) -> dict[str, Storage]:
        """The layout of buffers, of what is given because it was saved, and of inputs."""
        plan = self.plan
        given = [
            Buffer(o.name, tuple(a.indices for a in o.axes), self.types.output(o), False) for o in plan.saved
        ]
        saved = [(t, dims) for t, dims in plan.presences if PRESENT + t in plan.cascade.saved]
        given += [flag(t, dims, is_output=False) for t, dims in saved]
        found = {b.name: _collecting(b) if b.collects else self._plain(b) for b in (*buffers, *given)}
        for declared in plan.cascade.inputs:
            axes = tuple(a.indices for a in declared.axes)
            dtype = self.dtypes[declared.name]
            feature = bool(axes) and len(axes[-1]) == 1 and axes[-1][0] in plan.roles.whole
            aligned = feature and self.sizes[axes[-1][0]] * width(dtype) % 16 == 0
            found[declared.name] = Storage(axes, dtype, feature, 16 // width(dtype) if aligned else 1)
        return found

    def held(self, tensor: str) -> str:
        """The dtype a computed tensor is stored in between kernels."""
        match self.types.kinds[tensor]:
            case Kind.INTEGER:
                return "i32" if fits(self.widths.tensor(tensor), "i32") else "i64"
            case Kind.BOOLEAN:
                return "bool"
            case Kind.REAL:
                return self.types.real

    def _plain(self, buffer: Buffer) -> Storage:
        """Outputs and temporaries are contiguous and row-major."""
        innermost = buffer.axes[-1] if buffer.axes else ()
        return Storage(buffer.axes, buffer.dtype, bool({*innermost} & self.plan.roles.whole), 1)

    def _collects(self, name: str) -> str:
        """How the elements sent to a tensor are summed there."""
        sent = next((s for s in self.plan.cascade.sendings if s.tensor == name), None)
        if sent is None:
            return ""
        if self.parts:
            return "parts"
        if self.types.kinds[name] is Kind.INTEGER:
            return "counts"
        if self.types.real == "f64":
            statement = self.plan.flow.by_target[sent.statement][0]
            raise NotLoweredError(
                Diagnostic(
                    f"the keyed sum into '{name}' is not lowered in f64 on a GPU",
                    statement.span,
                    "give f32 inputs, or CPU tensors",
                )
            )
        return "digits"

    def _is_read_later(self, tensor: str) -> bool:
        plan = self.plan
        return tensor in plan.roles.streamed and any(
            tensor in kernel.available and self._reads(kernel, tensor) for kernel in plan.kernels
        )

    def _reads(self, kernel: KernelPlan, tensor: str) -> bool:
        names = (*kernel.targets, *kernel.stores)
        parts = (p for n in names for p in self.plan.flow.by_target[n] if isinstance(p, Einsum))
        exprs = (e for p in parts for e in (p.body, p.where) if e is not None)
        return tensor not in kernel.targets and any(
            r.tensor == tensor for e in exprs for r in leaf_reads(self.plan.flow, self.plan.roles, e)
        )


def _collecting(buffer: Buffer) -> Storage:
    """What is sent to computed places is held beside its parts, or in its digits."""
    match buffer.collects:
        case "parts":
            held = "f64" if is_float(buffer.dtype) else "i64"
            return Storage(((PARTS,), *buffer.axes), held, False, 1)
        case "digits":
            return Storage((*buffer.axes, (DIGITS,)), "i64", False, 1)
        case _:
            return Storage(buffer.axes, "i64", False, 1)


__all__ = ["Layouts", "Storage"]
