"""One kernel: its axes, the search for tiles that will do, its tile program, and how it is launched."""

from __future__ import annotations

from math import prod

from attn_dsl.codegen.kernel_text import KernelText
from attn_dsl.codegen.lowering.context import KernelContext, ProgramContext
from attn_dsl.codegen.lowering.stream import StreamKernel
from attn_dsl.codegen.naming import Namer, Tile, Value, joint_axis, plain
from attn_dsl.codegen.program import GridFactor, Kernel
from attn_dsl.codegen.schedule import Schedule
from attn_dsl.codegen.schedule.search import Candidate, Demand, Shape, search
from attn_dsl.codegen.schedule.tiling import Tiles, make_tiles, padded_extent, with_bands
from attn_dsl.codegen.tiles import Axis, Gather, KernelBody, TileBuilder, living_nodes
from attn_dsl.codegen.tiles.verify import verified
from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.expr import IndexVar, Span
from attn_dsl.planning.partition import KernelPlan, contribution_streams

MAX_WHOLE_LANES = 4096


class KernelLowering:
    """What the tiles of a kernel are made for, whatever their sizes. ``order``: in which every tile has its
    axes; ``inner``: whole indices that are reduced together with a stream; ``bands``: the diagonals of a tile
    of rows and stream."""

    def __init__(self, program: ProgramContext, plan: KernelPlan) -> None:
        self.program, self.plan = program, plan
        self.flow, self.roles = program.plan.flow, program.plan.roles
        self.machine = program.target.machine
        self.groups = self._stream_groups()
        self.whole = {
            i: program.sizes[i] for i in sorted(self.roles.whole) if i in program.sizes and i not in plan.rows
        }
        self._check_whole()
        self.inner = self._inner()
        self.bands = self._bands()
        ordered = sorted(self.whole, key=lambda i: (i not in self.inner, i))
        joint = map(joint_axis, filter(None, (plan.rows, *self.groups)))
        self.order = (*joint, *ordered, *self.bands.values())

    def run(self, name: str, given: Schedule) -> tuple[Tiles, KernelText, Kernel]:
        """The kernel, with tiles of its own where ``given`` leaves them open."""
        candidates, features = self.program.target.candidates, self._lanes_held()
        real = self.program.types.real

        def of(operand: str) -> tuple[Candidate, ...]:
            dtype = real if real == "f64" else operand
            return candidates(Demand(given, dtype, features, self.plan.few_rows))

        found = search(of, self.program.operand, self._cut)
        if found is None:
            raise self._too_large()
        schedule, context, body = found
        axes = self._axes(context, body)
        used = {i for axis in axes for i, _ in axis.parts}
        constants = tuple(
            (_tile_name(context.namer, i), lanes)
            for i, lanes in dict(self._lanes(context.tiles)).items()
            if i in used or i not in self.bands.values()
        )
        arguments = tuple(context.arguments.values())
        rows = context.tiles.rows if self._is_parted() else ()
        grid = self._grid(context.tiles)
        warps = min(schedule.num_warps or 4, self._most_warps(body, axes))
        stages = schedule.num_stages or 1
        limit = schedule.max_registers if self.program.target.limits_registers else None
        launch = Kernel(name, arguments, constants, grid, warps, stages, limit)
        text = KernelText(name, body, axes, arguments, constants, rows, context.namer, self._told(launch))
        return context.tiles, text, launch

    def _cut(self, candidate: Candidate) -> tuple[tuple[Schedule, KernelContext, KernelBody], Shape]:
        """The kernel with the tiles of a candidate."""
        tiles = make_tiles(
            self.plan.rows, self.groups, self.whole, self.inner, self.flow.positional, candidate.schedule,
            self.machine, candidate.least_stream, candidate.least_beside, self._beside_rows() - self.inner,
        )  # fmt: skip
        tiles = with_bands(tiles, self.bands, self.machine)
        context = KernelContext(self.program, self.plan, tiles, TileBuilder(self.order), self._namer())
        body = verified(StreamKernel(context).build())
        lanes = {axis.name: axis.lanes for axis in self._all_axes(tiles)}
        return (candidate.schedule, context, body), Shape(body, lanes)

    # axes

    def _lanes(self, tiles: Tiles) -> tuple[tuple[str, int], ...]:
        """The lanes of every index of the tiles, and of every diagonal."""
        return (*tiles.rows, *tiles.streams.items(), *tiles.whole.items(), *tiles.bands.values())

    def _all_axes(self, tiles: Tiles) -> tuple[Axis, ...]:
        members = {joint_axis(indices): indices for indices in (self.plan.rows, *self.groups)}
        blocks = dict(self._lanes(tiles))
        return tuple(Axis(a, tuple((i, blocks[i]) for i in members.get(a, (a,)))) for a in self.order)

    def _axes(self, context: KernelContext, body: KernelBody) -> tuple[Axis, ...]:
        """Those that the text speaks of: of diagonals, the ones used. All lengths have names."""
        used = {axis for node in living_nodes(body) for axis in node.axes}
        found = tuple(
            a for a in self._all_axes(context.tiles) if a.name in used or a.name not in self.bands.values()
        )
        for axis in found:
            for index, _ in axis.parts:
                _tile_name(context.namer, index)
        return found

    def _stream_groups(self) -> tuple[tuple[str, ...], ...]:
        groups = (s for t in self.plan.targets for s in contribution_streams(self.flow, self.roles, t))
        ordered = dict.fromkeys(map(self.flow.in_order, groups))  # no two have an index in common
        return tuple(sorted(ordered, key=lambda group: self.flow.places[group[0]]))

    def _bands(self) -> dict[str, str]:
        """Names for the diagonals of a tile of rows and stream, where each is one index."""
        if len(self.plan.rows) != 1:
            return {}
        return {group[0]: f"{group[0]}:band" for group in self.groups if len(group) == 1}

    def _inner(self) -> frozenset[str]:
        over = {i for t in self.plan.targets for i in self.flow.over(t)}
        return frozenset(over & self.roles.whole) - {*self.plan.rows}

    def _beside_rows(self) -> frozenset[str]:
        """Whole indices that pairs of rows and streams have as well: each row stands for as many."""
        flow, plan = self.flow, self.plan
        streams = {s for t in plan.targets for s in flow.over(t)} & self.roles.streams
        computed = {t for name in plan.targets for t in flow.ancestors(name)} - plan.available
        pairs = [{*flow.dims(t)} for t in flow.reductions if t in computed and t not in plan.targets]
        found = [dims for dims in pairs if dims & streams and dims & {*plan.rows}]
        return frozenset().union(*found) & self.roles.whole - {*plan.rows}

    def _lanes_held(self) -> int:
        """The features a row keeps in registers: of its accumulators, or of its widest operand."""
        extents = {i: padded_extent(n, i not in self.inner, self.machine) for i, n in self.whole.items()}
        held = [prod(extents[d] for d in self.flow.dims(t) if d in extents) for t in self.plan.targets]
        accumulators = sum(n for n in held if n > 1)
        return max(accumulators, *extents.values(), 16)

    # launching

    def _grid(self, tiles: Tiles) -> tuple[GridFactor, ...]:
        rows = (GridFactor((i,), n) for i, n in tiles.rows)
        return (*rows, *(GridFactor((p,)) for p in self.plan.programs))

    def _told(self, launch: Kernel) -> tuple[str, ...]:
        """What a reader of the source wants to know of the kernel."""
        stores = f"stores {', '.join(self.plan.stores)}" if self.plan.stores else ""
        factors = [
            f"{f.indices[0]} / {f.tile}" if f.tile > 1 else f.indices[0] for f in reversed(launch.grid)
        ]
        programs = f"a program for each of {' x '.join(factors)}" if factors else "one program"
        told = [programs, stores]
        if self.machine.threads > 1:
            told.append(f"{launch.num_warps} warps, {launch.num_stages} stages")
        return ("; ".join(filter(None, told)),)

    def _most_warps(self, body: KernelBody, axes: tuple[Axis, ...]) -> int:
        """How many warps a program may have: Triton's gather wants a warp to hold the gathered axis of its
        source, and no two the same (``setOptimizedGatherLayout`` in its OptimizeThreadLocality)."""
        threads, most = self.machine.threads, 32
        lanes = {axis.name: axis.lanes for axis in axes}
        for node in living_nodes(body):
            if isinstance(node.operation, Gather):
                source, axis = node.operands[0], node.operation.axis
                others = prod(lanes[a] for a in source.axes if a != axis)
                most = min(most, max(others * min(lanes[axis], threads) // threads, 1))
        return most

    def _namer(self) -> Namer:
        """Names for one kernel; what the file names keeps its own."""
        namer = Namer(self.program.target.reserved)
        for tensor in (*(i.name for i in self.program.plan.cascade.inputs), *self.flow.by_target):
            namer.claim(Value(tensor), tensor)
        return namer

    def _is_parted(self) -> bool:
        """Whether each value of the program indices has places of its own in what the kernel sends."""
        names = (*self.plan.targets, *self.plan.stores)
        sent = (self.program.plan.cascade.sending(t) for t in names)
        return all(IndexVar(p) in s.keys for s in sent if s is not None for p in self.plan.programs)

    # what does not fit

    def _check_whole(self) -> None:
        for index, size in self.whole.items():
            if size > MAX_WHOLE_LANES:
                raise NotLoweredError(
                    Diagnostic(
                        f"index '{index}' of size {size} does not fit in a tile of at most {MAX_WHOLE_LANES}",
                        self._lead_span,
                        "a contracted index is held whole; make it smaller, or part it in two",
                    )
                )

    def _too_large(self) -> NotLoweredError:
        sizes = ", ".join(f"{index} = {size}" for index, size in self.whole.items())
        return NotLoweredError(
            Diagnostic(
                f"the smallest tiles of this kernel, which hold {sizes} whole, do not fit in {self.program.target.holder}",
                self._lead_span,
                "make the features smaller, or sum over one of them at a time",
            )
        )

    @property
    def _lead_span(self) -> Span | None:
        return self.flow.by_target[(*self.plan.targets, *self.plan.stores)[0]][0].span


def _tile_name(namer: Namer, index: str) -> str:
    return namer.claim(Tile(index), f"BLOCK_{plain(index).upper()}")


__all__ = ["KernelLowering"]
