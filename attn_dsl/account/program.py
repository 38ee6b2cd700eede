"""The account of a program: its tile programs from code generation, run in the mind, each block as often as
it runs."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from attn_dsl.account.counting import TooManyPoints
from attn_dsl.account.live import Live, count_live
from attn_dsl.account.model import KernelAccount, LoopAccount, Operations, Passes
from attn_dsl.account.presences import with_presences, without_certainties
from attn_dsl.account.tiles import Rows, TileCount, count_tiles
from attn_dsl.account.unknown import is_known, loosened
from attn_dsl.account.values import Facts
from attn_dsl.account.work import Work, WorkCounter
from attn_dsl.analysis.passes import analyse_passes
from attn_dsl.analysis.report import describe_passes
from attn_dsl.codegen.generation import LoweredKernel, Lowering
from attn_dsl.codegen.program import COLLECTED
from attn_dsl.codegen.tiles import Loop, Share, Visits
from attn_dsl.errors import NotLoweredError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.dtypes import width
from attn_dsl.ir.expr import Expr
from attn_dsl.ir.walk import index_names


def account_kernels(
    lowering: Lowering, facts: Facts, dtypes: Mapping[str, str], written: int | None, *, on_cpu: bool
) -> tuple[KernelAccount, ...]:
    """Every kernel of a program. ``dtypes``: of what is in memory; ``written``: passes of the file as it
    stands."""
    sizes = {t: _tensor_bytes(t, lowering, facts, dtypes) for t in dtypes}
    return tuple(_Kernel(k, lowering, facts, sizes, written, on_cpu).account() for k in lowering.kernels)


def _tensor_bytes(tensor: str, lowering: Lowering, facts: Facts, dtypes: Mapping[str, str]) -> int:
    buffer = next((b for b in lowering.buffers if b.name == tensor), None)
    if buffer is not None and buffer.collects:  # summed in parts or digits, 8 bytes each
        return (
            8 * COLLECTED.get(buffer.collects, 1) * prod(facts.sizes[d] for axis in buffer.axes for d in axis)
        )
    if buffer is not None:
        dims = [d for axis in buffer.axes for d in axis]
    else:
        declared = facts.cascade.input(tensor)
        dims = (
            list(declared.dims)
            if declared is not None
            else list(lowering.plan.flow.dims(tensor.split(":")[-1]))
        )
    return prod(facts.sizes[d] for d in dims) * width(dtypes[tensor])


class _Kernel:
    def __init__(
        self, kernel: LoweredKernel, lowering: Lowering, facts: Facts, tensor_bytes: Mapping[str, int],
        written: int | None, on_cpu: bool,
    ) -> None:  # fmt: skip
        guards = [i.visits.guard for i in kernel.text.body.items if isinstance(i, Loop)]
        self.kernel, self.lowering = kernel, lowering
        self.facts = with_presences(facts, lowering.plan.flow, guards)
        self.tensor_bytes, self.written, self.on_cpu = tensor_bytes, written, on_cpu
        self.counter = WorkCounter(kernel, facts.sizes)
        self.row_tiles = dict(kernel.tiles.rows)
        self.programs = prod(
            -(-prod(facts.sizes[i] for i in factor.indices) // factor.tile) for factor in kernel.launch.grid
        )
        self.useful, self.executed, self.dense, self.unmasked = Work(), Work(), Work(), Work()
        self.loops: dict[tuple[object, ...], LoopAccount] = {}
        self.shares: dict[tuple[object, ...], float] = {}

    def account(self) -> KernelAccount:
        """Every block as often as it runs."""
        lanes = self.programs * prod(self.row_tiles.values())
        rows = prod(self.facts.sizes[i] for i in (*self.kernel.plan.programs, *self.row_tiles))
        for item in self.kernel.text.body.items:
            if isinstance(item, Loop):
                self._loop(item)
                continue
            for work in (self.executed, self.unmasked):
                work.add(self.counter.executed(item), self.programs)
            needed = self.counter.needed(item)
            for work in (self.useful, self.dense):
                work.add(needed, self.programs * rows / lanes if lanes else 0)
        moved = {t: min(round(n), self.tensor_bytes.get(t, round(n))) for t, n in self.executed.loads.items()}
        stored = {
            t: min(round(n), self.tensor_bytes.get(t, round(n))) for t, n in self.executed.stores.items()
        }
        return KernelAccount(
            self.kernel.launch.name, self.kernel.plan.rows, self.kernel.plan.stores, self.programs, self.row_tiles,
            dict(self.kernel.tiles.streams), tuple(dict.fromkeys(self.loops.values())), self._passes(),
            self._operations("contraction"), self._operations("pointwise"),
            round(self.unmasked.contraction + self.unmasked.pointwise), round(self.executed.special),
            {d: round(n) for d, n in self.executed.products.items()}, moved, stored,
            round(sum(self.executed.loads.values())), self.counter.footprint(on_cpu=self.on_cpu),
        )  # fmt: skip

    def _operations(self, kind: str) -> Operations:
        found = (getattr(work, kind) for work in (self.useful, self.executed, self.dense))
        return Operations(*(round(n) for n in found))

    # loops

    def _loop(self, loop: Loop) -> None:
        visits = loop.visits
        found = self._counted(visits)
        runs = {
            Share.FULL: found.tiles.full,
            Share.REST: found.tiles.partial,
            Share.ALL: found.tiles.visited,
        }[visits.share]
        tested = {
            Share.FULL: runs,
            Share.REST: found.tiles.tested - found.tiles.full,
            Share.ALL: found.tiles.tested,
        }
        self.executed.add(self.counter.executed(loop.prepare), tested[visits.share])
        self.executed.add(self.counter.executed(loop.body), runs)
        needed = self.counter.needed(loop.body)
        used = self.shares[self._key(visits)]
        self.useful.add(needed, runs * used)
        if visits.share is not Share.FULL:  # the two loops of one plan are one, were there no mask
            self.unmasked.add(self.counter.executed(loop.body), found.tiles.total)
            self.unmasked.add(self.counter.executed(loop.prepare), found.tiles.total)
            area = prod(self.row_tiles.values()) * prod(self.kernel.tiles.streams[s] for s in visits.stream)
            self.dense.add(needed, self._pairs(visits) / area)

    def _key(self, visits: Visits) -> tuple[object, ...]:
        return visits.stream, visits.plan, visits.guard, visits.tested

    def _pairs(self, visits: Visits) -> int:
        indices = (*self.kernel.plan.programs, *self.row_tiles, *visits.stream)
        return prod(self.facts.sizes[i] for i in indices)

    def _counted(self, visits: Visits) -> LoopAccount:
        key = self._key(visits)
        if key not in self.loops:
            whole = self._whole_of(visits)
            indices = (*self.kernel.plan.programs, *self.row_tiles, *visits.stream, *whole)
            guard = without_certainties(visits.guard, self.facts)
            live = count_live(guard, indices, frozenset(visits.stream), self.facts)
            tiles, exact = self._tiles(visits, whole)
            lanes = prod(self.row_tiles.values()) * prod(self.kernel.tiles.streams[s] for s in visits.stream)
            lanes *= tiles.visited * prod(self.facts.sizes[i] for i in whole)
            self.loops[key] = LoopAccount(
                visits.stream, str(visits.plan), visits.plan.closed_form, live, tiles, exact
            )
            self.shares[key] = live.high / lanes if lanes else 0.0
        return self.loops[key]

    def _whole_of(self, visits: Visits) -> tuple[str, ...]:
        """The indices held whole that a guard or a bound depends on."""
        exprs: list[Expr] = [visits.guard]
        for term in visits.plan.terms:
            exprs += [*term.row_conditions, *(e for b in term.bounds for e in (*b.lower, *b.upper))]
        used = {n for e in exprs for n in index_names(e)}
        return tuple(i for i in self.kernel.tiles.whole if i in used)

    def _tiles(self, visits: Visits, whole: tuple[str, ...]) -> tuple[TileCount, bool]:
        known = is_known(visits, self.facts)
        seen = visits if known else loosened(visits, self.facts)
        rows = (*self.kernel.tiles.rows, *((i, max(self.facts.sizes[i], 1)) for i in whole))
        found = Rows(self.kernel.plan.programs, rows)
        try:
            return count_tiles(seen, found, self.kernel.tiles.streams, self.facts), known
        except TooManyPoints:
            counts = (-(-self.facts.sizes[s] // self.kernel.tiles.streams[s]) for s in visits.stream)
            total = self.programs * prod(counts)
            return TileCount(total, total, 0, total), False

    # passes

    def _passes(self) -> Passes:
        plan = self.lowering.plan
        streams = plan.streams(self.kernel.plan)
        if not streams:
            return Passes(self.written, 0, 0, 0, "no pass over a stream")
        found = plan.passes(self.kernel.plan)
        hoisted = analyse_passes(plan.cascade, streams, fold=False).count
        bound = 1 if any(streams.values()) else 0
        return Passes(self.written, hoisted, found.count, bound, describe_passes(plan.cascade, found))


def passes_as_written(cascade: Cascade) -> int | None:
    """The passes of the cascade as its file says it, without any rewriting and without folds; None where it
    cannot be cut into kernels in that form."""
    from attn_dsl.planning.binding import means_as_sums
    from attn_dsl.planning.keyed import with_sendings
    from attn_dsl.planning.plan import planned

    try:
        plan = planned(with_sendings(means_as_sums(cascade)))
    except NotLoweredError:
        return None
    found = filter(None, map(plan.streams, plan.kernels))
    return max((analyse_passes(plan.cascade, streams, fold=False).count for streams in found), default=0)


__all__ = ["Live", "account_kernels", "passes_as_written"]
