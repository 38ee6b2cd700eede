"""Sums of products along the diagonals of a tile: with what is read there, and of what goes there."""

from __future__ import annotations

from collections.abc import Sequence

from attn_dsl.codegen.lowering.band import Band, BandLowering
from attn_dsl.codegen.lowering.context import Scope
from attn_dsl.codegen.lowering.products import Factor, Products
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.tiles import Load, Node
from attn_dsl.ir.cascade import Reduction
from attn_dsl.ir.expr import Const, Expr, Read


class DiagonalSums:
    """Lowers them as products of matrices, where they are such."""

    def __init__(self, products: Products) -> None:
        self.products = products
        self.tiles = products.tiles
        self.context = products.context
        self.expressions = products.expressions
        self.builder = products.builder
        self.bands = BandLowering(products.context, products.expressions)

    def sum(
        self, parts: list[tuple[Factor, Node]], guards: Sequence[Node], axes: tuple[str, ...], scope: Scope,
        accumulator: Node | None,
    ) -> Node | None:  # fmt: skip
        """A sum of products with what is read along the diagonals of the tile, or None."""
        found = [(p, band) for p in parts if (band := self._band_of(*p, scope)) is not None]
        if len(found) != 1:
            return None
        (factor, band), rest = found[0], [p for p in parts if p is not found[0][0]]
        inner = [(f, n) for f, n in rest if set(n.axes) & set(axes)]
        outer = [(f, n) for f, n in rest if not set(n.axes) & set(axes)]
        dtype = self.products.operand_dtype(inner, [factor])
        if not inner or not set(axes) <= set(factor[1].axes) or not self.products.has_products(dtype):
            return None
        other, sides = self.products.product(inner), {band.row, band.stream}
        places = factor[0].expr
        if axes == (band.stream,):
            if {a for n in (other, *guards) for a in n.axes} != sides:
                return None
            skewed = self._skewed(other, guards, band, band.row)
            read = self.expressions.lower(places, self.bands.scope(band, scope))
            skips = self.context.machine.skips
            return self.products.dot(skewed, read, (band.axis,), dtype, outer, accumulator, skips=skips)
        if sides & set(axes) or guards or len(sides & set(other.axes)) != 1:
            return None
        if not set(axes) <= set(other.axes) <= sides | set(axes):
            return None
        read = self.expressions.lower(places, self.bands.scope(band, scope))
        a, b = (self.tiles.inside(operand, axes, Reduction.SUM, scope) for operand in (other, read))
        value = self.bands.along(self.products.dot(a, b, axes, dtype, [], None, skips=False), band)
        value = self.products.product([(Factor(Const(1.0)), value), *outer]) if outer else value
        return value if accumulator is None else self.expressions.operate("add", accumulator, value)

    def _band_of(self, factor: Factor, node: Node, scope: Scope) -> Band | None:
        """The diagonals along which a factor is read that varies with rows, stream and features."""
        if (
            factor.inverted
            or not isinstance(factor.expr, Read)
            or not isinstance(node.operation, Load)
            or len(node.axes) < 3
        ):
            return None
        return self.bands.find(factor.expr.indices, scope)

    def _skewed(self, weights: Node, guards: Sequence[Node], band: Band, kept: str) -> Node:
        """Weights of rows and keys, where all ``guards`` hold, by diagonals and the ``kept`` one of the
        two."""
        skips = self.context.machine.skips
        guard, weights = self.tiles.counts(guards), self.expressions.real(weights)
        if guard is not None or skips:
            weights = self.products.counted(guard or self.builder.const(True), weights, skips=skips)
        return self.bands.skewed(weights, band, kept)

    def summed(self, body: Expr, guards: Sequence[Node], band: Band, scope: Scope) -> Node | None:
        """The elements of a body, where all ``guards`` hold, summed over each diagonal: None where they are
        no product of weights by row and key with features of one of the two."""
        parts = self.products.lowered(body, scope)
        sides = {band.row, band.stream}
        features = [(f, n) for f, n in parts if set(n.axes) - sides]
        weights = [(f, n) for f, n in parts if (f, n) not in features]
        dtype = self.products.operand_dtype(weights, features)
        if not any(is_float(n.dtype) for _, n in weights) or not self.products.has_products(dtype):
            return None
        if any(not set(n.axes) <= sides for n in guards):
            return None
        value = self.products.product(weights)
        if not sides <= {a for n in (value, *guards) for a in n.axes}:
            return None
        if not features:
            return self.tiles.reduce_tile("add", self._skewed(value, guards, band, band.row), (band.row,))
        other = self.products.product(features)
        if len(set(other.axes) & sides) != 1:
            return None
        (kept,) = set(other.axes) & sides
        skewed, skips = self._skewed(value, guards, band, kept), self.context.machine.skips
        guard = self.tiles.counts(guards)
        if guard is not None and not skips:
            other = self.products.finite_where_used(guard, other, (kept,), scope)
        return self.products.dot(skewed, other, (kept,), dtype, [], None, skips=skips)
