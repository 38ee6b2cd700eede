"""From a cascade and what it is specialised on to a program: the stages of code generation, in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from attn_dsl.analysis.logic import PRESENT
from attn_dsl.analysis.widths import NARROW, WIDE, Widths, fits
from attn_dsl.codegen.context import KernelContext, Storage, Tiles, buffer_storage, collecting_storage
from attn_dsl.codegen.cpu import words as cpu_words
from attn_dsl.codegen.cpu.emit import emit_module as emit_cpu
from attn_dsl.codegen.cpu.footprint import stack_bytes
from attn_dsl.codegen.defaults import attempts, default_schedule, make_tiles, padded_extent, with_bands
from attn_dsl.codegen.kernel_text import KernelText
from attn_dsl.codegen.machine import Machine, machine_of
from attn_dsl.codegen.naming import Namer, Tile, Value, joint_axis, plain
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.program import Buffer, GridFactor, Kernel, Program
from attn_dsl.codegen.results import flag, output_buffer, result_types
from attn_dsl.codegen.schedule import Schedule
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.codegen.stream import StreamKernel
from attn_dsl.codegen.tiles import KernelBody, Node, TileBuilder, living_nodes
from attn_dsl.codegen.triton import words as triton_words
from attn_dsl.codegen.triton.emit import emit_module
from attn_dsl.codegen.verify import verified
from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Einsum
from attn_dsl.ir.dtypes import Kind, width
from attn_dsl.ir.expr import IndexVar
from attn_dsl.planning.partition import KernelPlan, contribution_streams, leaf_reads
from attn_dsl.planning.plan import ProgramPlan

MAX_WHOLE_LANES = 4096
LEAST_LANES = 16  # of each side of a matrix product
STACK_BYTES = 1 << 20  # of the order of a second-level cache
MAX_STACK_BYTES = 4 << 20  # half of what a thread has


@dataclass(frozen=True, slots=True)
class LoweredKernel:
    """One kernel before it is printed: its place in the cascade, its tiles, its tile program, how it is launched."""

    plan: KernelPlan
    tiles: Tiles
    text: KernelText
    launch: Kernel


@dataclass(frozen=True, slots=True)
class Lowering:
    """A program before it is printed. ``plan``: its own, at the sizes it is specialised on."""

    plan: ProgramPlan
    kernels: tuple[LoweredKernel, ...]
    buffers: tuple[Buffer, ...]


def generate(
    plan: ProgramPlan, specialisation: Specialisation, schedules: Sequence[Schedule] | None = None
) -> Program:
    """The program of a plan for one specialisation; ``schedules``: one for each kernel, else all have the specialisation's.
    NotLoweredError names what has no kernel yet."""
    return _Generation(plan, specialisation, schedules).run()


def lower(plan: ProgramPlan, specialisation: Specialisation) -> Lowering:
    """The tile programs of one specialisation, for those who count what they do. NotLoweredError as ``generate``."""
    return _Generation(plan, specialisation, None).lowered()


class _Generation:
    """One run of code generation; every method is a stage."""

    def __init__(
        self, plan: ProgramPlan, specialisation: Specialisation, schedules: Sequence[Schedule] | None
    ) -> None:
        self.spec = specialisation
        self.schedules = schedules
        self.sizes = dict(specialisation.sizes)
        self.plan = plan.at(self.sizes)
        self.params, self.cascade, self.flow = self.plan.params, self.plan.cascade, self.plan.flow
        self.roles, self.plans = self.plan.roles, self.plan.kernels
        self.dtypes = dict(specialisation.dtypes)
        types = result_types(self.cascade, self.dtypes)
        self.types, self.kinds, self.real, self.result = types, types.kinds, types.real, types.result
        limits = WIDE if specialisation.wide else NARROW
        self.widths = Widths(self.cascade, self.dtypes, self.sizes, self.params, limits)

    def dtype_of(self, tensor: str) -> str:
        """The dtype a computed tensor is stored in between kernels."""
        match self.kinds[tensor]:
            case Kind.INTEGER:
                return "i32" if fits(self.widths.tensor(tensor), "i32") else "i64"
            case Kind.BOOLEAN:
                return "bool"
            case _:
                return self.real

    @property
    def _operand(self) -> str:
        """What products are taken in that have no input among their factors."""
        return self.result if is_float(self.result) else "f32"

    def lowered(self) -> Lowering:
        buffers = self._buffers()
        storage = self._storage(buffers)
        kernels = tuple(self._kernel(plan, at, storage) for at, plan in enumerate(self.plans))
        return Lowering(self.plan, kernels, tuple(buffers))

    def run(self) -> Program:
        lowering = self.lowered()
        storage = self._storage(list(lowering.buffers))
        texts = [kernel.text for kernel in lowering.kernels]
        source = (
            emit_cpu(self.plan, self.spec, texts)
            if self.spec.architecture == "cpu"
            else emit_module(self.plan, self.spec, texts, self.spec.matmul_precision)
        )
        launches = tuple(kernel.launch for kernel in lowering.kernels)
        return Program(source, launches, lowering.buffers, self._contiguous(storage))

    def _buffers(self) -> list[Buffer]:
        outputs = {o.name: o for o in self.cascade.outputs}
        buffers = [
            replace(output_buffer(o, self.types), collects=self._collects(o.name)) for o in outputs.values()
        ]
        shared = {t for p in self.plans for t in p.stores if self._read_later(t)}
        kept = {t: dims for t, dims in self.plan.presences if PRESENT + t not in self.cascade.saved}
        buffers += [flag(t, dims, is_output=True) for t, dims in kept.items()]
        for tensor in (s for p in self.plans for s in p.stores):
            axes = tuple((d,) for d in self.flow.dims(tensor))
            if tensor not in outputs and self.cascade.sending(tensor) is None:
                buffers.append(Buffer(tensor, axes, self.dtype_of(tensor), False))
            if tensor in shared and tensor not in kept:
                buffers.append(flag(tensor, self.flow.guards.varies_with(tensor), is_output=False))
        return buffers

    def _collects(self, name: str) -> str:
        """How the elements sent to a tensor are summed there."""
        sent = next((s for s in self.cascade.sendings if s.tensor == name), None)
        if sent is None:
            return ""
        if self.spec.architecture == "cpu":
            return "parts"
        if self.kinds[name] is Kind.INTEGER:
            return "counts"
        if self.real == "f64":
            statement = self.flow.by_target[sent.statement][0]
            raise NotLoweredError(
                Diagnostic(
                    f"the keyed sum into '{name}' is not lowered in f64 on a GPU",
                    statement.span,
                    "give f32 inputs, or CPU tensors",
                )
            )
        return "digits"

    def _read_later(self, tensor: str) -> bool:
        return tensor in self.roles.streamed and any(
            tensor in plan.available and self._kernel_reads(plan, tensor) for plan in self.plans
        )

    def _kernel_reads(self, plan: KernelPlan, tensor: str) -> bool:
        names = (*plan.targets, *plan.stores)
        parts = (p for n in names for p in self.flow.by_target[n] if isinstance(p, Einsum))
        exprs = (e for p in parts for e in (p.body, p.where) if e is not None)
        return tensor not in plan.targets and any(
            r.tensor == tensor for e in exprs for r in leaf_reads(self.flow, self.roles, e)
        )

    def _storage(self, buffers: list[Buffer]) -> dict[str, Storage]:
        given = [
            Buffer(o.name, tuple(a.indices for a in o.axes), self.types.output(o), False)
            for o in self.plan.saved
        ]
        saved = [(t, dims) for t, dims in self.plan.presences if PRESENT + t in self.cascade.saved]
        given += [flag(t, dims, is_output=False) for t, dims in saved]
        storage = {
            b.name: collecting_storage(b) if b.collects else buffer_storage(b, self.roles.whole)
            for b in (*buffers, *given)
        }
        for declared in self.cascade.inputs:
            axes = tuple(a.indices for a in declared.axes)
            dtype = self.dtypes[declared.name]
            feature = bool(axes) and len(axes[-1]) == 1 and axes[-1][0] in self.roles.whole
            aligned = feature and self.sizes[axes[-1][0]] * width(dtype) % 16 == 0
            storage[declared.name] = Storage(axes, dtype, feature, 16 // width(dtype) if aligned else 1)
        return storage

    def _contiguous(self, storage: dict[str, Storage]) -> tuple[tuple[str, int], ...]:
        inputs = [(i.name, storage[i.name]) for i in self.cascade.inputs]
        return tuple((name, s.stride_divisor) for name, s in inputs if s.contiguous)

    # one kernel

    def _kernel(self, plan: KernelPlan, at: int, storage: dict[str, Storage]) -> LoweredKernel:
        machine = machine_of(self.spec.architecture)
        given = self.spec.schedule if self.schedules is None else self.schedules[at]
        groups = self._stream_groups(plan)
        whole = {i: self.sizes[i] for i in sorted(self.roles.whole) if i in self.sizes and i not in plan.rows}
        self._check_whole(whole, plan)
        inner = self._inner(plan)
        beside = self._beside_rows(plan) - inner
        extents = {i: padded_extent(n, i not in inner, machine) for i, n in whole.items()}
        operand = self._operand
        bands = self._band_axes(plan, groups)
        ordered = sorted(whole, key=lambda i: (i not in inner, i))
        order = (*map(joint_axis, filter(None, (plan.rows, *groups))), *ordered, *bands.values())

        def lowered(attempt: int) -> tuple[Schedule, KernelContext, KernelBody]:
            schedule = default_schedule(
                given, self.spec.architecture, self.real if self.real == "f64" else operand,
                self._lanes_held(plan, extents), attempt, few_rows=plan.few_rows,
            )  # fmt: skip
            tiles = make_tiles(
                plan.rows, groups, whole, inner, self.flow.positional, schedule, machine,
                1 if attempt > 1 else LEAST_LANES, LEAST_LANES if attempt == 1 and thin else 1, beside,
            )  # fmt: skip
            context = KernelContext(
                self.plan, plan, with_bands(tiles, bands, machine), storage, self.sizes,
                self.real, self._operand, TileBuilder(order),
                {t: self.dtype_of(t) for t in self.kinds}, machine, self._namer(), self.widths,
            )  # fmt: skip
            return schedule, context, verified(StreamKernel(context).build())

        thin = False
        schedule, context, body = lowered(0)
        if (taken := _operand_of(body, operand)) != operand:  # other operands have other tiles
            operand = taken
            schedule, context, body = lowered(0)
        for attempt in range(1, attempts(self.spec.architecture)):
            if self._fits(body, context.tiles, plan, groups, order, machine, STACK_BYTES, attempt - 1):
                break
            # A stream that shares its lanes with features may have too few left for a product over it alone.
            thin = thin or _is_thin(body, _lanes(context.tiles, plan, groups, order))
            schedule, context, body = lowered(attempt)
        if not machine.holds_tiles and not self._fits(
            body, context.tiles, plan, groups, order, machine, MAX_STACK_BYTES
        ):
            raise self._too_large(plan, whole)
        tiles = context.tiles
        members = {joint_axis(indices): indices for indices in (plan.rows, *groups)}
        lengths = {  # every tile has its axes in this order
            axis: " * ".join(_tile_name(context.namer, i) for i in members.get(axis, (axis,)))
            for axis in order
        }
        used = {axis for node in _nodes(body) for axis in node.axes}
        diagonals = {axis: lanes for axis, lanes in tiles.bands.values() if axis in used}
        lengths = {a: t for a, t in lengths.items() if a in used or a not in bands.values()}
        blocks = {**dict(tiles.rows), **tiles.streams, **tiles.whole, **diagonals}
        constants = tuple((_tile_name(context.namer, i), n) for i, n in blocks.items())
        name = f"{self.cascade.name}_kernel" + (f"_{at}" if len(self.plans) > 1 else "")
        text = KernelText(
            name,
            body,
            lengths,
            tuple(context.arguments.values()),
            constants,
            tiles.rows if self._parted(plan) else (),
            context.namer,
        )
        grid = (*(GridFactor((i,), n) for i, n in tiles.rows), *(GridFactor((p,)) for p in plan.programs))
        kernel = Kernel(
            name,
            tuple(context.arguments.values()),
            constants,
            grid,
            min(
                schedule.num_warps or 4,
                _most_warps(body, _lanes(tiles, plan, groups, order), self.spec.architecture),
            ),
            schedule.num_stages or 1,
            schedule.max_registers if self.spec.architecture.startswith("cuda") else None,
        )
        return LoweredKernel(plan, tiles, text, kernel)

    def _namer(self) -> Namer:
        """Names for one kernel; what the file names keeps its own."""
        words = cpu_words if self.spec.architecture == "cpu" else triton_words
        namer = Namer(words.is_reserved)
        for tensor in (*(i.name for i in self.cascade.inputs), *self.flow.by_target):
            namer.claim(Value(tensor), tensor)
        return namer

    def _parted(self, plan: KernelPlan) -> bool:
        """Whether each value of the program indices has places of its own in what the kernel sends."""
        sent = (self.cascade.sending(t) for t in (*plan.targets, *plan.stores))
        return all(IndexVar(p) in s.keys for s in sent if s is not None for p in plan.programs)

    def _fits(
        self, body: KernelBody, tiles: Tiles, plan: KernelPlan, groups: tuple[tuple[str, ...], ...],
        order: tuple[str, ...], machine: Machine, most: int, attempt: int = 0,
    ) -> bool:  # fmt: skip
        """Whether the tiles are small enough for the machine, as far as that shows before they are compiled."""
        lanes = _lanes(tiles, plan, groups, order)
        if machine.holds_tiles:
            wide = _widest(body) > 2
            return not _is_thin(body, lanes) and (not wide or (attempt > 0 and _has_products(body)))
        return stack_bytes(body, lanes) <= most

    def _too_large(self, plan: KernelPlan, whole: dict[str, int]) -> NotLoweredError:
        lead = self.flow.by_target[(*plan.targets, *plan.stores)[0]][0]
        sizes = ", ".join(f"{index} = {size}" for index, size in whole.items())
        return NotLoweredError(
            Diagnostic(
                f"the smallest tiles of this kernel, which hold {sizes} whole, do not fit in a thread's stack",
                lead.span,
                "make the features smaller, or sum over one of them at a time",
            )
        )

    def _stream_groups(self, plan: KernelPlan) -> tuple[tuple[str, ...], ...]:
        groups = (s for t in plan.targets for s in contribution_streams(self.flow, self.roles, t))
        ordered = dict.fromkeys(map(self.flow.in_order, groups))
        return tuple(
            sorted(ordered, key=lambda group: self.flow.places[group[0]])
        )  # no two have one in common

    def _band_axes(self, plan: KernelPlan, groups: tuple[tuple[str, ...], ...]) -> dict[str, str]:
        """Names for the diagonals of a tile of rows and stream, where each is one index."""
        if len(plan.rows) != 1:
            return {}
        return {group[0]: f"{group[0]}:band" for group in groups if len(group) == 1}

    def _inner(self, plan: KernelPlan) -> frozenset[str]:
        """Whole indices that streamed reductions reduce together with a stream."""
        over = {i for t in plan.targets for i in self.flow.over(t)}
        return frozenset(over & self.roles.whole) - {*plan.rows}

    def _beside_rows(self, plan: KernelPlan) -> frozenset[str]:
        """Whole indices that pairs of rows and streams have as well: each row stands for as many."""
        streams = {s for t in plan.targets for s in self.flow.over(t)} & self.roles.streams
        computed = {t for name in plan.targets for t in self.flow.ancestors(name)} - plan.available
        pairs = [
            {*self.flow.dims(t)} for t in self.flow.reductions if t in computed and t not in plan.targets
        ]
        found = [dims for dims in pairs if dims & streams and dims & {*plan.rows}]
        return frozenset().union(*found) & self.roles.whole - {*plan.rows}

    def _check_whole(self, whole: dict[str, int], plan: KernelPlan) -> None:
        for index, size in whole.items():
            if size > MAX_WHOLE_LANES:
                lead = self.flow.by_target[(*plan.targets, *plan.stores)[0]][0]
                raise NotLoweredError(
                    Diagnostic(
                        f"index '{index}' of size {size} does not fit in a tile of at most {MAX_WHOLE_LANES}",
                        lead.span,
                        "a contracted index is held whole; make it smaller, or part it in two",
                    )
                )

    def _lanes_held(self, plan: KernelPlan, extents: dict[str, int]) -> int:
        """The features a row keeps in registers: of its accumulators, or of its widest operand."""
        held = [prod(extents[d] for d in self.flow.dims(t) if d in extents) for t in plan.targets]
        accumulators = sum(n for n in held if n > 1)
        return max(accumulators, *extents.values(), 16)


def _tile_name(namer: Namer, index: str) -> str:
    return namer.claim(Tile(index), f"BLOCK_{plain(index).upper()}")


def _nodes(body: KernelBody) -> Iterable[Node]:
    return living_nodes(body).values()


def _has_products(body: KernelBody) -> bool:
    """Whether any value is a matrix product."""
    return any(node.operation == "dot" for node in _nodes(body))


def _lanes(
    tiles: Tiles, plan: KernelPlan, groups: tuple[tuple[str, ...], ...], order: tuple[str, ...]
) -> dict[str, int]:
    """The lanes of every axis of a kernel's tiles."""
    blocks = {**dict(tiles.rows), **tiles.streams, **tiles.whole, **dict(tiles.bands.values())}
    members = {joint_axis(g): g for g in (plan.rows, *groups)}
    return {axis: prod(blocks[i] for i in members.get(axis, (axis,))) for axis in order}


def _is_thin(body: KernelBody, lanes: Mapping[str, int]) -> bool:
    """Whether a matrix product sums over fewer lanes than there are in a matrix instruction."""
    return any(
        prod(lanes[axis] for axis in node.attributes[0]) < LEAST_LANES
        for node in _nodes(body)
        if node.operation == "dot"
    )


def _most_warps(body: KernelBody, lanes: Mapping[str, int], architecture: str) -> int:
    """How many warps a program may have: Triton's gather wants a warp to hold the gathered axis of its source, and no
    two the same (``setOptimizedGatherLayout`` in its OptimizeThreadLocality)."""
    threads, most = (64 if architecture.startswith("hip") else 32), 32
    for node in _nodes(body):
        if node.operation == "gather":
            source, (axis,) = node.operands[0], node.attributes
            others = prod(lanes[a] for a in source.axes if a != axis)
            most = min(most, max(others * min(lanes[axis], threads) // threads, 1))
    return most


def _operand_of(body: KernelBody, otherwise: str) -> str:
    """The widest dtype that the kernel takes products in."""
    taken = [node.attributes[1] for node in _nodes(body) if node.operation == "dot"]
    return max(taken, key=width, default=otherwise)


def _widest(body: KernelBody) -> int:
    """The most axes of any value: a product that no matrix instruction takes spans rows, stream and features."""
    return max((len(node.axes) for node in _nodes(body)), default=0)
