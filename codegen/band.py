"""Products with what is read along the diagonals of a tile, such as an embedding of distances, ``E[j - i + c, d]``.

A tile of I rows and J keys meets I + J - 1 diagonals, not I * J. So what lies along them, the band, is loaded once as
a matrix and multiplied as one; the product is then read along the diagonals, or the other factor written along them:

    R[i,j] += Q[i,d] * E[j - i + c, d]      product[i,n] = Q[i,:]·band[n,:]        R[i,j] = product[i, j - i + I - 1]
    D[i,d] += W[i,j] * E[j - i + c, d]      skewed[i,n] = W[i, n + i - I + 1]      D[i,:] = Σₙ skewed[i,n] band[n,:]

Any place that does not change as i and j grow together (or one grows as the other shrinks) is of this kind: clipped
distances, buckets. (The skew is that of Huang et al., "Music Transformer", 2018, within a tile.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from attn_dsl.codegen.context import KernelContext, Scope
from attn_dsl.codegen.lowering import ExpressionLowering
from attn_dsl.codegen.tiles import Node
from attn_dsl.ir.expr import Expr, IndexVar, Op, Read
from attn_dsl.ir.walk import index_names, substitute

_STEP = IndexVar("step of a diagonal")


@dataclass(frozen=True, slots=True)
class Band:
    """A read along the diagonals of a tile of ``row`` and ``stream``. ``rising``: the diagonals on which one grows as
    the other shrinks."""

    read: Read
    row: str
    stream: str
    rising: bool


class BandLowering:
    """Loads bands, and moves tiles to and from their diagonals."""

    def __init__(self, context: KernelContext, expressions: ExpressionLowering) -> None:
        self.context = context
        self.expressions = expressions
        self.builder = context.builder

    def find(self, expr: Expr, node: Node, scope: Scope) -> Band | None:
        """The band that a factor reads, where it varies with rows, stream and features."""
        rows, streams, tiles = self.context.plan.rows, scope.stream, self.context.tiles
        if not isinstance(expr, Read) or node.operation != "load" or len(node.axes) < 3:
            return None
        if len(rows) != 1 or len(streams) != 1 or not {*rows, *streams} <= {*node.axes}:
            return None
        row, stream = rows[0], streams[0]
        if stream not in tiles.bands:
            return None
        for rising, step in ((False, _STEP), (True, Op("neg", (_STEP,)))):
            along = {row: Op("add", (IndexVar(row), _STEP)), stream: Op("add", (IndexVar(stream), step))}
            if not any(_STEP.name in index_names(substitute(slot, along)) for slot in expr.indices):
                return Band(expr, row, stream, rising)
        return None

    def load(self, band: Band, scope: Scope) -> Node:
        """The places on all diagonals of the tile: those of one row, its first or its last, at the keys of the tile and
        as many more as there are rows."""
        start = scope.endpoints[f"lo:{band.row}"]
        rows = dict(self.context.tiles.rows)[band.row]
        row = start if band.rising else self.expressions.operate("add", start, self.builder.const(rows - 1))
        key = self.expressions.operate("add", scope.endpoints[f"lo:{band.stream}"], self._lanes(self._axis(band)))
        coordinates = {**scope.coordinates, band.row: row, band.stream: key}
        return self.expressions.lower(band.read, replace(scope, coordinates=coordinates, memo={}))

    def along(self, product: Node, band: Band) -> Node:
        """From each row and diagonal to each row and key."""
        row, key = self._lanes(band.row), self._lanes(band.stream)
        lane = self.expressions.operate("add" if band.rising else "sub", key, row)
        return self._moved(product, self._axis(band), self._shifted(lane, band))

    def skewed(self, weights: Node, band: Band) -> Node:
        """From each row and key to each row and diagonal; no key there: 0, which is told from a weight that is 0 by its sign."""
        row, diagonal = self._lanes(band.row), self._lanes(self._axis(band))
        lane = self.expressions.operate("sub" if band.rising else "add", diagonal, row)
        if not band.rising:
            last = dict(self.context.tiles.rows)[band.row] - 1
            lane = self.expressions.operate("sub", lane, self.builder.const(last))
        keys = self.context.tiles.streams[band.stream]
        none, last_key = self.builder.const(0), self.builder.const(keys - 1)
        held = self.expressions.operate("min", self.expressions.operate("max", lane, none), last_key)
        inside = self.expressions.operate("eq", held, lane)
        zero = self.builder.const(-0.0 if self.context.machine.skips else 0.0, weights.dtype)
        return self.expressions.where(inside, self._moved(weights, band.stream, held), zero)

    def _axis(self, band: Band) -> str:
        return self.context.tiles.bands[band.stream][0]

    def _lanes(self, axis: str) -> Node:
        return self.builder.node("arange", dtype="i32", axes=(axis,), attributes=(axis,))

    def _shifted(self, lane: Node, band: Band) -> Node:
        rows = dict(self.context.tiles.rows)[band.row]
        return lane if band.rising else self.expressions.operate("add", lane, self.builder.const(rows - 1))

    def _moved(self, source: Node, axis: str, lane: Node) -> Node:
        """The elements of a tile at other lanes of one axis."""
        axes: Sequence[str] = (*(a for a in source.axes if a != axis), *lane.axes)
        return self.builder.node(
            "gather", source, lane, axes=tuple(axes), dtype=source.dtype, attributes=(axis,)
        )
