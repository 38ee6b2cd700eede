"""Where the pairs of a mechanism exist, element by element, and what a kernel does with each tile.

Elements are the truth, not the plan: the guard is evaluated for every pair by the dense reference. Tiles are
what the kernel's own rules make of them (`account.tile_map`). A picture so shows both what there is and what
is visited for it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attn_dsl.account.analysis import DEFAULT_DEVICE, Request, lowered
from attn_dsl.account.tile_map import TileKind, map_tiles
from attn_dsl.account.tiles import Rows
from attn_dsl.account.unknown import is_known, loosened
from attn_dsl.account.values import Facts
from attn_dsl.analysis.logic import PRESENT, conjunction, conjuncts, disjunction
from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Expr, Op, SizeOf
from attn_dsl.ir.printer import print_expr
from attn_dsl.ir.walk import index_names, tensors_read, transform
from attn_dsl.planning.dependence import Dependence
from attn_dsl.reference.expressions import evaluate_expression
from attn_dsl.reference.partial import Partial, Scope
from attn_dsl.report.evaluation import evaluated, require_drawable
from attn_dsl.report.pairs import PairLoop, Params, example_loops, pair_loops
from attn_dsl.report.samples import Sample, is_whole, sample

MOST_PANELS = 4
MOST_TILES = 1 << 22


@dataclass(frozen=True, slots=True)
class TileMap:
    """The tiles of a loop, for one slice of the other indices. ``of``: what its kernel stores; ``rows`` and
    ``streams``: lanes of each index; ``kinds``: a `TileKind` for each tile, both sides flattened row-major;
    ``exact``: else bounds of the loop are not known before the call, and these are the most it visits;
    ``predicate``: where its pairs exist, in the language; ``made_up``: inputs that decide this and were not
    given."""

    of: str
    rows: Mapping[str, int]
    streams: Mapping[str, int]
    sizes: Mapping[str, int]
    kinds: NDArray[np.int8]
    exact: bool
    predicate: str
    at: Mapping[str, int]
    made_up: tuple[str, ...]

    @property
    def is_flat(self) -> bool:
        """Whether each side is one index, so that tiles are rectangles of the picture."""
        return len(self.rows) == 1 and len(self.streams) == 1

    def count(self, kind: TileKind) -> int:
        """How many tiles are of this kind."""
        return int((self.kinds == kind).sum())

    @property
    def lanes(self) -> str:
        """``64 x 64``, or ``(8 x 8) x (8 x 8)`` where a side has several indices."""
        return " × ".join(_lanes(side) for side in (self.rows, self.streams))

    @property
    def title(self) -> str:
        """What is stored, and which slice."""
        at = ", ".join(f"{name} = {n}" for name, n in self.at.items())
        return f"{self.of}, {at}" if at else self.of

    @property
    def summary(self) -> str:
        """One sentence: the tiles by kind."""
        most = "" if self.exact else "at most "
        return (
            f"tiles of {self.lanes}: {most}{self.count(TileKind.FULL)} full, {self.count(TileKind.PARTIAL)} partial, "
            f"{self.count(TileKind.EMPTY)} empty"
        )


@dataclass(frozen=True, slots=True)
class MaskMap:
    """The pairs behind a tile map. ``live``: a truth value for each, rows and streams flattened row-major."""

    tiles: TileMap
    live: NDArray[np.bool_]

    @property
    def share(self) -> float:
        """The part of the pairs that exist, from 0 to 1."""
        return float(self.live.mean()) if self.live.size else 0.0

    @property
    def summary(self) -> str:
        """One sentence: the part of the pairs that exist, and the tiles by kind."""
        return f"{self.share:.1%} of {self.live.size:,} pairs exist; {self.tiles.summary}"

    def window(self) -> tuple[NDArray[np.bool_], tuple[int, ...]] | None:
        """What the middle row sees, over the last two stream indices, and that row's place; None for flat
        streams. Further stream indices stand at the row's own place."""
        tiles = self.tiles
        if len(tiles.streams) < 2 or len(tiles.rows) != len(tiles.streams):
            return None
        place = tuple(tiles.sizes[r] // 2 for r in tiles.rows)
        shape = [tiles.sizes[n] for n in (*tiles.rows, *tiles.streams)]
        lead = tuple(min(p, tiles.sizes[s] - 1) for p, s in zip(place, tiles.streams, strict=True))[:-2]
        return self.live.reshape(shape)[(*place, *lead)], place


@dataclass(frozen=True, slots=True)
class MaskRequest:
    """What is to be drawn. ``tensors``: inputs, laid out as declared; those that masks read and that are not
    given are made up. ``tiles``: (rows, stream), else the schedule's own."""

    cascade: Cascade
    params: Params
    sizes: Mapping[str, int]
    tensors: Mapping[str, Tensor]
    tiles: tuple[int, int] | None = None
    device: str = DEFAULT_DEVICE
    dtype: torch.dtype | str | None = None
    seed: int = 0


def tile_maps(request: MaskRequest) -> tuple[TileMap, ...]:
    """The tiles of every loop; slices along an index that the mask varies with one by one, the first few,
    where they differ. ArgumentError for names and shapes that do not fit, and where nothing is paired;
    NotLoweredError."""
    maps: list[TileMap] = []
    for view in _views(request):
        for at in view.slices:
            found = _tile_map(view, at)
            if not any(_same_place(found, m) and np.array_equal(found.kinds, m.kinds) for m in maps):
                maps.append(found)
    return tuple(_without_places(maps))


def mask_maps(request: MaskRequest) -> tuple[MaskMap, ...]:
    """The pairs and tiles of every loop, as ``tile_maps``. ArgumentError also for more than 16 million
    pairs."""
    maps: list[MaskMap] = []
    for view in _views(request):
        require_drawable((*view.loop.row_names, *view.loop.stream_names), view.drawn.sizes)
        scope = _scope(view)
        for at in view.slices:
            found = MaskMap(_tile_map(view, at), _live(view, at, scope))
            if not any(_same(found, m) for m in maps):
                maps.append(found)
    tiles = _without_places([m.tiles for m in maps])
    return tuple(replace(m, tiles=t) for m, t in zip(maps, tiles, strict=True))


def _same(one: MaskMap, other: MaskMap) -> bool:
    same = np.array_equal(one.live, other.live) and np.array_equal(one.tiles.kinds, other.tiles.kinds)
    return same and _same_place(one.tiles, other.tiles)


def _same_place(one: TileMap, other: TileMap) -> bool:
    """Whether two maps have the same sides; what else they are of is no matter where they look the same."""
    return (one.rows, one.streams) == (other.rows, other.streams)


def _without_places(maps: list[TileMap]) -> list[TileMap]:
    """Only where there are several slices does a title say which."""
    names = {n for m in maps for n in m.at}
    telling = {n for n in names if len({m.at.get(n) for m in maps if n in m.at}) > 1}
    return [replace(m, at={n: k for n, k in m.at.items() if n in telling}) for m in maps]


@dataclass(frozen=True, slots=True)
class _View:
    """One loop, at the sizes and with the tensors of a picture."""

    loop: PairLoop
    facts: Facts
    drawn: Sample
    slices: tuple[Mapping[str, int], ...]
    made_up: tuple[str, ...]


def _views(request: MaskRequest) -> list[_View]:
    cascade, params = request.cascade, request.params
    examples = example_loops(cascade, params)
    if not examples:
        raise ArgumentError(
            Diagnostic(
                f"{cascade.name} has no pairs to draw: no loop of its kernels serves rows of a result",
                help="a mask relates the rows of a result to what is summed over",
            )
        )
    needed = {n for loop in examples for n in behind(cascade, loop)} | {
        i.name for i in cascade.inputs if is_whole(i)
    }
    drawn = sample(cascade, params, examples, request.sizes, request.tensors, needed, request.seed)
    sizes = {n: v for n, v in drawn.sizes.items() if not n.startswith("_")}
    whole = {n for loop in examples for n in loop.whole}
    sizes = {n: v for n, v in sizes.items() if n not in whole or n in request.sizes}
    lowering, facts = lowered(
        Request(cascade, params, sizes, request.dtype, request.device, request.tiles, drawn.arguments)
    )
    drawn = replace(drawn, sizes={**drawn.sizes, **facts.sizes})
    return [_view(cascade, loop, known, drawn) for loop, known in pair_loops(lowering, facts)]


def _view(cascade: Cascade, loop: PairLoop, facts: Facts, drawn: Sample) -> _View:
    along = tuple(sorted(loop.varies_with))
    places = product(*(range(min(facts.sizes[n], MOST_PANELS)) for n in along))
    slices = [dict(zip(along, at, strict=True)) for at in places][: MOST_PANELS**2]
    deciding = behind(cascade, loop)
    return _View(loop, facts, drawn, tuple(slices), tuple(n for n in drawn.made_up if n in deciding))


def behind(cascade: Cascade, loop: PairLoop) -> Collection[str]:
    """The inputs that a guard depends on."""
    flow = Dependence(cascade)
    inputs = {i.name for i in cascade.inputs}
    read = {t.removeprefix(PRESENT) for t in tensors_read(loop.guard)}
    named = {t for t in read if t in inputs or cascade.definitions(t)}
    # A tensor of the normal form alone: whatever its kernel reads may be behind it.
    return inputs if named != read else (named.union(*(flow.ancestors(t) for t in named)) & inputs)


def _tile_map(view: _View, at: Mapping[str, int]) -> TileMap:
    loop, facts = view.loop, view.facts
    exact = is_known(loop.visits, facts)
    visits = loop.visits if exact else loosened(loop.visits, facts)
    whole = tuple((i, max(facts.sizes[i], 1)) for i in loop.whole_in_guard)
    counts = [-(-facts.sizes[n] // lanes) for n, lanes in (*loop.rows, *loop.streams)]
    _require_few_tiles(counts)
    rows = Rows(loop.programs, (*loop.rows, *whole))
    kinds = map_tiles(visits, rows, dict(loop.streams), facts)
    kinds = kinds[tuple(at.get(p, 0) for p in loop.programs)]
    flat = kinds.reshape(prod(counts[: len(loop.rows)]), prod(counts[len(loop.rows) :]))
    return TileMap(
        ", ".join(loop.stores), dict(loop.rows), dict(loop.streams), facts.sizes, flat, exact,
        in_words(loop.guard), at, view.made_up,
    )  # fmt: skip


def _require_few_tiles(counts: list[int]) -> None:
    if prod(counts) > MOST_TILES:
        raise ArgumentError(
            Diagnostic(
                f"{prod(counts):,} tiles are more than a picture shows",
                help=f"at most {MOST_TILES:,}: give smaller sizes, or larger tiles",
            )
        )


def in_words(guard: Expr) -> str:
    """A guard as a reader wants it: in the language, without that sizes are positive, or what is certain."""
    parts = conjuncts(transform(guard, _without_certain))
    telling = [p for p in parts if not (isinstance(p, Op) and isinstance(p.args[0], SizeOf))]
    text = print_expr(conjunction(*telling)) if telling else "every pair"
    return "every pair" if text == "true" else present_in_words(text)


def present_in_words(text: str) -> str:
    """A presence is a pseudo-tensor in a guard, which the language has no name for."""
    return re.sub(r"present:(\w+\[[^]]*\])", r"present(\1)", text)


def _without_certain(expr: Expr) -> Expr:
    match expr:
        case Op(name="and", args=args):
            return conjunction(*args)
        case Op(name="or", args=args):
            return disjunction(*dict.fromkeys(args))
        case _:
            return expr


def _scope(view: _View) -> Scope:
    """The tensors that a guard reads, by the reference; presences by their pseudo-names."""
    cascade, params = view.facts.cascade, view.facts.params
    read = {t.removeprefix(PRESENT) for t in tensors_read(view.loop.guard)}
    scope = evaluated(cascade, params, view.drawn, read)
    presences: dict[str, Partial] = {}
    for name in read:
        found = scope.tensors[name]
        present = torch.ones_like(found.value, dtype=torch.bool) if found.present is None else found.present
        presences[PRESENT + name] = Partial(present)
    return replace(scope, tensors={**scope.tensors, **presences})


def _live(view: _View, at: Mapping[str, int], scope: Scope) -> NDArray[np.bool_]:
    """Where the guard holds, over the pair, at one place of the other indices, for any of those held
    whole."""
    loop = view.loop
    pair = (*loop.row_names, *loop.stream_names)
    inside = tuple(i for i in loop.whole if i in index_names(loop.guard))
    fixed = replace(scope, space=(*pair, *inside, *at))
    value = evaluate_expression(loop.guard, fixed).certainly()
    value = value.expand(
        [fixed.sizes[n] for n in (*pair, *inside)] + list(value.shape[len(pair) + len(inside) :])
    )
    for place in reversed(list(at.values())):
        value = value.select(-1, min(place, value.shape[-1] - 1))
    if inside:
        value = value.flatten(len(pair)).any(-1)
    rows = prod(scope.sizes[n] for n in loop.row_names)
    return value.reshape(rows, -1).numpy()


def _lanes(side: Mapping[str, int]) -> str:
    text = " × ".join(str(n) for n in side.values())
    return f"({text})" if len(side) > 1 else text
