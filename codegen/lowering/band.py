"""Products with what lies along the diagonals of a tile, such as an embedding of distances, ``E[j - i + c,
d]``.

A tile of I rows and J keys meets I + J - 1 diagonals, not I * J. So what lies along them, the band, is loaded
once as a matrix and multiplied as one; the product is then read along the diagonals, or the other factor
written along them:

    R[i,j] += Q[i,d] * E[j - i + c, d]      product[i,n] = Q[i,:]·band[n,:]        R[i,j] = product[i, j - i + I - 1]
    D[i,d] += W[i,j] * E[j - i + c, d]      skewed[i,n] = W[i, n + i - I + 1]      D[i,:] = Σₙ skewed[i,n] band[n,:]
    G[j - i + c, d] += W[i,j] * Q[i,d]      the same                               G[n, d] = Σᵢ skewed[i,n] Q[i,d]

Any place that does not change as i and j grow together (or one grows as the other shrinks) is of this kind:
clipped distances, buckets. (The skew is that of Huang et al., "Music Transformer", 2018, within a tile.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from attn_dsl.codegen.lowering.context import KernelContext, Scope
from attn_dsl.codegen.lowering.expressions import ExpressionLowering
from attn_dsl.codegen.tiles import Gather, Lanes, Node
from attn_dsl.ir.expr import Expr, IndexVar, Op
from attn_dsl.ir.walk import index_names, substitute

_STEP = IndexVar("step along a diagonal")


@dataclass(frozen=True, slots=True)
class Band:
    """The diagonals of a tile of ``row`` and ``stream``, and the axis that counts them. ``rising``: those on
    which one grows as the other shrinks."""

    row: str
    stream: str
    axis: str
    rising: bool


class BandLowering:
    """Finds what lies along diagonals, and moves tiles to and from them."""

    def __init__(self, context: KernelContext, expressions: ExpressionLowering) -> None:
        self.context = context
        self.expressions = expressions
        self.builder = context.builder

    def find(self, places: Iterable[Expr], scope: Scope) -> Band | None:
        """The diagonals along which places stay the same, where they vary with rows and stream at all."""
        rows, streams = self.context.plan.rows, scope.stream
        if len(rows) != 1 or len(streams) != 1 or streams[0] not in self.context.tiles.bands:
            return None
        (row,), (stream,) = rows, streams
        places = tuple(places)
        if not {row, stream} <= {n for place in places for n in index_names(place)}:
            return None
        for rising, step in ((False, _STEP), (True, Op("neg", (_STEP,)))):
            along = {row: Op("add", (IndexVar(row), _STEP)), stream: Op("add", (IndexVar(stream), step))}
            if not any(_STEP.name in index_names(substitute(place, along)) for place in places):
                return Band(row, stream, self.context.tiles.bands[stream][0], rising)
        return None

    def scope(self, band: Band, scope: Scope) -> Scope:
        """Where expressions have their values on the diagonals: those of one row, its first or its last, at
        the keys of the tile and at as many more as there are rows."""
        first = scope.endpoints[f"lo:{band.row}"]
        last = self.expressions.operate("add", first, self.builder.const(self._rows - 1))
        key = self.expressions.operate("add", scope.endpoints[f"lo:{band.stream}"], self._lanes(band.axis))
        moved = {band.row: first if band.rising else last, band.stream: key}
        return replace(scope, coordinates={**scope.coordinates, **moved}, memo={})

    def along(self, product: Node, band: Band) -> Node:
        """From each row and diagonal to each row and key."""
        row, key = self._lanes(band.row), self._lanes(band.stream)
        lane = self.expressions.operate("add" if band.rising else "sub", key, row)
        if not band.rising:
            lane = self.expressions.operate("add", lane, self.builder.const(self._rows - 1))
        return self._moved(product, band.axis, lane)

    def skewed(self, weights: Node, band: Band, kept: str) -> Node:
        """From each row and key to each diagonal and the ``kept`` one of the two; no other there: as what
        does not count."""
        diagonal, other = self._lanes(band.axis), band.row if kept == band.stream else band.stream
        if band.rising:
            lane = self.expressions.operate("sub", diagonal, self._lanes(kept))
        elif kept == band.row:
            lane = self.expressions.operate("add", diagonal, self._lanes(kept))
            lane = self.expressions.operate("sub", lane, self.builder.const(self._rows - 1))
        else:
            lane = self.expressions.operate("sub", self._lanes(kept), diagonal)
            lane = self.expressions.operate("add", lane, self.builder.const(self._rows - 1))
        last = self._rows - 1 if other == band.row else self.context.tiles.streams[band.stream] - 1
        held = self.expressions.operate("max", lane, self.builder.const(0))
        held = self.expressions.operate("min", held, self.builder.const(last))
        inside = self.expressions.operate("eq", held, lane)
        zero = self.builder.const(-0.0 if self.context.machine.skips else 0.0, weights.dtype)
        return self.expressions.where(inside, self._moved(weights, other, held), zero)

    @property
    def _rows(self) -> int:
        ((_, rows),) = self.context.tiles.rows
        return rows

    def _lanes(self, axis: str) -> Node:
        return self.builder.node(Lanes(), dtype="i32", axes=(axis,))

    def _moved(self, source: Node, axis: str, lane: Node) -> Node:
        """The elements of a tile at other lanes of one axis."""
        axes = (*(a for a in source.axes if a != axis), *lane.axes)
        return self.builder.node(Gather(axis), source, lane, axes=axes, dtype=source.dtype)
