"""Reductions of a tile: products to matrix products, everything else elementwise.

The body of a sum is parted into factors. Those with the row axis make one operand, those without it the
other, and where each has the reduced axes and the two share no other axis, the sum is a ``dot`` in the inputs'
dtype, accumulated in f32. A factor over both sides and the reduced axis (an L1 distance) has no matrix
product: it is summed elementwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attn_dsl.analysis.presence import TRUE, conjunction, conjuncts
from attn_dsl.codegen.band import Band, BandLowering
from attn_dsl.codegen.context import KernelContext, Scope
from attn_dsl.codegen.lowering import ExpressionLowering
from attn_dsl.codegen.numbers import is_float, join_dtypes
from attn_dsl.codegen.tiles import Node, named
from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Einsum, Reduction
from attn_dsl.ir.expr import Const, Detach, Expr, Op, Read
from attn_dsl.ir.walk import index_names, substitute

IDENTITY: dict[Reduction, str] = {
    Reduction.SUM: "0", Reduction.PRODUCT: "1", Reduction.MAX: "-inf", Reduction.MIN: "inf",
    Reduction.ANY: "0", Reduction.ALL: "1",
}  # fmt: skip
COMBINE: dict[Reduction, str] = {
    Reduction.SUM: "add", Reduction.PRODUCT: "mul", Reduction.MAX: "max", Reduction.MIN: "min",
    Reduction.ANY: "or", Reduction.ALL: "and",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor of a product; ``inverted``: it divides."""

    expr: Expr
    inverted: bool = False


def factors(expr: Expr, inverted: bool = False) -> list[Factor]:
    """The factors of a product."""
    match expr:
        case Op(name="mul", args=(a, b)):
            return factors(a, inverted) + factors(b, inverted)
        case Op(name="div", args=(a, b)):
            return factors(a, inverted) + factors(b, not inverted)
        case Op(name="neg", args=(a,)):
            return [Factor(Const(-1.0)), *factors(a, inverted)]
        case Detach(value=value):
            return factors(value, inverted)
        case _:
            return [Factor(expr, inverted)]


class ContractionLowering:
    """Inner reductions, and the tile's share of streamed ones."""

    def __init__(self, context: KernelContext, expressions: ExpressionLowering) -> None:
        self.context = context
        self.expressions = expressions
        self.builder = context.builder
        self.bands = BandLowering(context, expressions)
        expressions.contract = self.contract
        expressions.presence_of = self.presence_of

    # inner reductions

    def contract(self, parts: tuple[Einsum, ...], read: Read, scope: Scope) -> Node:
        """An inner reduction at the slots of a read."""
        result: Node | None = None
        everywhere = set[Expr].intersection(*({*conjuncts(p.where or TRUE)} for p in parts))
        for part in parts:
            assert part.reduce is not None
            body, where = self._placed(part, read)
            axes = self._axes_of(part, scope)
            value = self.reduce(part.reduce, body, self._selecting(where, axes, scope), axes, scope)
            own = conjunction(*(c for c in conjuncts(part.where or TRUE) if c not in everywhere))
            value = self._where_present(value, part, own, read, axes, scope)
            result = value if result is None else self.combine(part.reduce, result, value)
        assert result is not None
        return result

    def _selecting(self, where: Expr | None, axes: tuple[str, ...], scope: Scope) -> list[Node]:
        """The conditions that select among the reduced elements. Others make the whole result absent, and what an
        absent element holds is never looked at."""
        nodes = [self.expressions.lower(c, scope) for c in conjuncts(where or TRUE)]
        return [n for n in nodes if set(n.axes) & set(axes)]

    def _where_present(
        self, value: Node, part: Einsum, own: Expr, read: Read, axes: tuple[str, ...], scope: Scope
    ) -> Node:
        """A contribution that others are added to: where it alone is absent, it changes nothing."""
        assert part.reduce is not None
        placed = substitute(own, dict(zip(part.dims, read.indices, strict=True)))
        nodes = [self.expressions.lower(c, scope) for c in conjuncts(placed)]
        exists = self.expressions.all_of([n for n in nodes if not set(n.axes) & set(axes)])
        return (
            value
            if exists is None
            else self.expressions.where(exists, value, self.identity(part.reduce, value.dtype))
        )

    def presence_of(self, parts: tuple[Einsum, ...], read: Read, scope: Scope) -> Node:
        """Whether an inner reduction has any element."""
        result: Node | None = None
        for part in parts:
            if self.is_empty(part):
                continue
            _, where = self._placed(part, read)
            if where is None:
                return self.builder.const(True)
            over = self._axes_of(part, scope)
            guard = self.expressions.lower(where, scope)
            axes = tuple(a for a in over if a in guard.axes)
            some = self.reduce_tile("or", self._inside(guard, axes, Reduction.ANY, scope), axes)
            result = some if result is None else self.expressions.operate("or", result, some)
        return self.builder.const(False) if result is None else result

    def is_empty(self, part: Einsum) -> bool:
        """Whether a contribution reduces a whole index without elements: then it has none itself."""
        return any(self.context.sizes.get(index) == 0 for index in part.over)

    def _placed(self, part: Einsum, read: Read) -> tuple[Expr, Expr | None]:
        values = dict(zip(part.dims, read.indices, strict=True))
        captured = {n for slot in read.indices for n in index_names(slot)} & set(part.over)
        if captured:
            raise NotLoweredError(
                Diagnostic(
                    f"'{part.target}' sums over '{min(captured)}' and is read at an expression of it",
                    read.span or part.span,
                    "use another index in one of the two",
                )
            )
        where = None if part.where is None else substitute(part.where, values)
        return substitute(part.body, values), where

    def _axes_of(self, part: Einsum, scope: Scope) -> tuple[str, ...]:
        for index in part.over:
            if index not in self.context.tiles.whole:
                raise NotLoweredError(
                    Diagnostic(
                        f"'{part.target}' reduces '{index}' inside a loop over it",
                        part.span,
                        "no nearer form is lowered yet; evaluate it with .reference(...)",
                    )
                )
        return self.builder.ordered(tuple(part.over))

    # shared

    def combine(self, reduce: Reduction, a: Node, b: Node) -> Node:
        """Two partial results as one."""
        return self.expressions.operate(COMBINE[reduce], a, b)

    def reduce(
        self, reduce: Reduction, body: Expr, guards: Sequence[Node], axes: tuple[str, ...], scope: Scope,
        accumulator: Node | None = None, lanes: int = 1,
    ) -> Node:  # fmt: skip
        """Reduce a body over the axes of a tile, where all ``guards`` hold. ``accumulator`` is added to (sums only). ``lanes``: how many
        elements a body that does not vary along the axes stands for."""
        if reduce is Reduction.SUM:
            value = self._sum(body, guards, axes, scope, accumulator, lanes)
            if value is not None:
                return value
        node = self.expressions.lower(body, scope)
        if reduce in (Reduction.ANY, Reduction.ALL):
            node = self._truth(node)
        elif node.dtype == "bool":
            node = self.expressions.cast(node, "i32")
        elif is_float(node.dtype):
            node = self.expressions.real(node)
        return self._reduce_value(reduce, node, self._counts(guards), axes, scope, lanes)

    def _counts(self, guards: Sequence[Node]) -> Node | None:
        """Which elements count."""
        node = self.expressions.all_of(list(guards))
        return named(node, "counts") if node is not None and len(node.axes) > 1 else node

    def _truth(self, node: Node) -> Node:
        return node if node.dtype == "bool" else self.expressions.operate("ne", node, self.builder.const(0))

    def _reduce_value(
        self, reduce: Reduction, node: Node, guard: Node | None, axes: tuple[str, ...], scope: Scope, lanes: int
    ) -> Node:  # fmt: skip
        if guard is not None:
            node = self.expressions.where(guard, node, self.identity(reduce, node.dtype))
        node = self._inside(node, axes, reduce, scope)
        varying = tuple(a for a in axes if a in node.axes)
        repeats = self._repeats(tuple(a for a in axes if a not in varying), lanes)
        if reduce is Reduction.SUM and repeats != 1:
            node = self.expressions.operate("mul", node, self.builder.const(repeats))
        if reduce is Reduction.PRODUCT and repeats != 1:
            node = self.expressions.power(node, repeats)
        return self.reduce_tile(COMBINE[reduce], node, varying)

    def _repeats(self, axes: tuple[str, ...], lanes: int) -> int:
        repeats = 1
        for axis in axes:
            repeats *= self.context.sizes.get(axis, lanes)
        return repeats

    def identity(self, reduce: Reduction, dtype: str) -> Node:
        """What a reduction of values of this type starts from."""
        text = IDENTITY[reduce]
        if dtype == "bool":
            return self.builder.const(text == "1")
        if is_float(dtype):
            return self.builder.const(float(text), dtype)
        width = 63 if dtype == "i64" else 31
        limits = {"-inf": -(2**width), "inf": 2**width - 1}
        return self.builder.const(limits[text] if text in limits else int(text), dtype)

    def _inside(self, node: Node, axes: tuple[str, ...], reduce: Reduction, scope: Scope) -> Node:
        """Lanes of padded features hold the identity."""
        for axis in axes:
            if axis not in node.axes or axis not in self.context.tiles.whole:
                continue
            if IDENTITY[reduce] == "0" and axis in self.context.zero_padded.get(id(node), ()):
                continue
            for inside in self.expressions.lane_bounds(axis, scope):
                node = self.expressions.where(inside, node, self.identity(reduce, node.dtype))
        return node

    def reduce_tile(self, operator: str, node: Node, axes: tuple[str, ...]) -> Node:
        """Reduce the axes of a node with an associative operator."""
        for axis in axes:
            rest = tuple(a for a in node.axes if a != axis)
            node = self.builder.node(
                "reduce", node, axes=rest, dtype=node.dtype, attributes=(operator, node.axes.index(axis))
            )
        return node

    # sums of products

    def _sum(
        self, body: Expr, guards: Sequence[Node], axes: tuple[str, ...], scope: Scope, accumulator: Node | None,
        lanes: int,
    ) -> Node | None:  # fmt: skip
        parts = [(f, self.expressions.lower(f.expr, scope)) for f in factors(body)]
        if not any(is_float(n.dtype) for _, n in parts) and not any(f.inverted for f, _ in parts):
            return None
        along = self._along_diagonals(parts, guards, axes, scope, accumulator)
        if along is not None:
            return along
        inner = [(f, n) for f, n in parts if set(n.axes) & set(axes)]
        outer = [(f, n) for f, n in parts if not set(n.axes) & set(axes)]
        row = self.context.row_axis
        left = [(f, n) for f, n in inner if row in n.axes or not self._streamed(n, axes)]
        right = [(f, n) for f, n in inner if (f, n) not in left]
        plain = [p for p in right if set(p[1].axes) <= set(axes)]
        if left and any(row in n.axes for _, n in left):
            left, right = left + plain, [p for p in right if p not in plain]
        if not (left and right):
            return self._elementwise(inner, outer, self._counts(guards), axes, scope, accumulator, lanes)
        dtype = self._operand_dtype(left, right)
        a, b = self._product(left), self._product(right)
        others = set(a.axes) & set(b.axes) - set(axes)
        on_a = [g for g in guards if set(g.axes) <= {*a.axes, *axes}]
        on_b = [g for g in guards if g not in on_a and set(g.axes) <= {*b.axes, *axes}]
        guard_fits = len(on_a) + len(on_b) == len(guards)
        complete = set(axes) <= set(a.axes) and set(axes) <= set(b.axes)
        if others or not guard_fits or not complete or row not in a.axes or not self._has_products(dtype):
            return self._elementwise(inner, outer, self._counts(guards), axes, scope, accumulator, lanes)
        guard = self._counts(on_a)
        if on_b:
            inside = self.expressions.all_of(on_b)
            assert inside is not None
            zero = self.builder.const(0.0, b.dtype if is_float(b.dtype) else self.context.real)
            b = self.expressions.where(inside, b, zero)
        skips = False
        if guard is not None:
            skips = self.context.machine.skips
            a = self._counted(guard, self.expressions.real(a), skips=skips)
            if not skips:
                b = self._finite_where_used(guard, b, axes, scope)
        a, b = (self._inside(operand, axes, Reduction.SUM, scope) for operand in (a, b))
        return self._dot(a, b, axes, dtype, outer, accumulator, skips=skips)

    def _along_diagonals(
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
        dtype = self._operand_dtype(inner, [factor])
        if not inner or not set(axes) <= set(factor[1].axes) or not self._has_products(dtype):
            return None
        other, sides = self._product(inner), {band.row, band.stream}
        places = factor[0].expr
        if axes == (band.stream,):
            if {a for n in (other, *guards) for a in n.axes} != sides:
                return None
            skewed = self.skewed(other, guards, band, band.row)
            read = self.expressions.lower(places, self.bands.scope(band, scope))
            skips = self.context.machine.skips
            return self._dot(skewed, read, (band.axis,), dtype, outer, accumulator, skips=skips)
        if sides & set(axes) or guards or len(sides & set(other.axes)) != 1:
            return None
        if not set(axes) <= set(other.axes) <= sides | set(axes):
            return None
        read = self.expressions.lower(places, self.bands.scope(band, scope))
        a, b = (self._inside(operand, axes, Reduction.SUM, scope) for operand in (other, read))
        value = self.bands.along(self._dot(a, b, axes, dtype, [], None, skips=False), band)
        value = self._product([(Factor(Const(1.0)), value), *outer]) if outer else value
        return value if accumulator is None else self.expressions.operate("add", accumulator, value)

    def _band_of(self, factor: Factor, node: Node, scope: Scope) -> Band | None:
        """The diagonals along which a factor is read that varies with rows, stream and features."""
        if (
            factor.inverted
            or not isinstance(factor.expr, Read)
            or node.operation != "load"
            or len(node.axes) < 3
        ):
            return None
        return self.bands.find(factor.expr.indices, scope)

    def skewed(self, weights: Node, guards: Sequence[Node], band: Band, kept: str) -> Node:
        """Weights of rows and keys, where all ``guards`` hold, by diagonals and the ``kept`` one of the two."""
        skips = self.context.machine.skips
        guard, weights = self._counts(guards), self.expressions.real(weights)
        if guard is not None or skips:
            weights = self._counted(guard or self.builder.const(True), weights, skips=skips)
        return self.bands.skewed(weights, band, kept)

    def summed_along(self, body: Expr, guards: Sequence[Node], band: Band, scope: Scope) -> Node | None:
        """The elements of a body, where all ``guards`` hold, summed over each diagonal: None where they are no
        product of weights by row and key with features of one of the two."""
        parts = [(f, self.expressions.lower(f.expr, scope)) for f in factors(body)]
        sides = {band.row, band.stream}
        features = [(f, n) for f, n in parts if set(n.axes) - sides]
        weights = [(f, n) for f, n in parts if (f, n) not in features]
        dtype = self._operand_dtype(weights, features)
        if not any(is_float(n.dtype) for _, n in weights) or not self._has_products(dtype):
            return None
        if any(not set(n.axes) <= sides for n in guards):
            return None
        value = self._product(weights)
        if not sides <= {a for n in (value, *guards) for a in n.axes}:
            return None
        if not features:
            return self.reduce_tile("add", self.skewed(value, guards, band, band.row), (band.row,))
        other = self._product(features)
        if len(set(other.axes) & sides) != 1:
            return None
        (kept,) = set(other.axes) & sides
        skewed, skips = self.skewed(value, guards, band, kept), self.context.machine.skips
        guard = self._counts(guards)
        if guard is not None and not skips:
            other = self._finite_where_used(guard, other, (kept,), scope)
        return self._dot(skewed, other, (kept,), dtype, [], None, skips=skips)

    def _counted(self, guard: Node, value: Node, *, skips: bool) -> Node:
        """0 in lanes that do not count; -0 there and nowhere else, where the product is to tell them apart."""
        if not skips:
            return self.expressions.where(guard, value, self.builder.const(0.0, value.dtype))
        axes = self.builder.ordered((*guard.axes, *(a for a in value.axes if a not in guard.axes)))
        return self.builder.node("counted", guard, value, axes=axes, dtype=value.dtype)

    def _has_products(self, dtype: str) -> bool:
        return dtype != "f64" or self.context.machine.double_products

    def _streamed(self, node: Node, axes: tuple[str, ...]) -> bool:
        """Whether a factor without rows belongs to the streamed operand rather than to the row's."""
        return any(a not in axes for a in node.axes) or len(node.axes) > 0 and not self._is_weight(node, axes)

    def _is_weight(self, node: Node, axes: tuple[str, ...]) -> bool:
        return set(node.axes) <= set(axes) and all(a in self.context.tiles.whole for a in node.axes)

    def _finite_where_used(self, guard: Node, operand: Node, axes: tuple[str, ...], scope: Scope) -> Node:
        """A key that no row of the tile sees must not reach it, whatever it holds: 0 * nan is nan."""
        rows = [b for r in self.context.plan.rows for b in self.expressions.lane_bounds(r, scope)]
        seen = self.expressions.all_of([guard, *rows])
        assert seen is not None
        for axis in [a for a in seen.axes if a not in axes]:
            seen = self.reduce_tile("or", seen, (axis,))
        zero = self.builder.const(0.0, operand.dtype if is_float(operand.dtype) else self.context.real)
        return self.expressions.where(seen, operand, zero) if seen.axes else operand

    def _product(self, parts: list[tuple[Factor, Node]]) -> Node:
        if len(parts) == 1 and not parts[0][0].inverted:
            return parts[0][1]
        result: Node | None = None
        for factor, node in sorted(parts, key=lambda p: p[0].inverted):
            value = self.expressions.real(node)
            if result is None:
                result = value
                if factor.inverted:
                    one = self.builder.const(1.0, self.context.real)
                    result = self.expressions.operate("div", one, value)
            else:
                result = self.expressions.operate("div" if factor.inverted else "mul", result, value)
        assert result is not None
        return result

    def _operand_dtype(self, left: list[tuple[Factor, Node]], right: list[tuple[Factor, Node]]) -> str:
        """Products are taken in the dtype of the inputs that are factors themselves, else of the result."""
        inputs = {f"{i.name}_ptr" for i in self.context.cascade.inputs}
        nodes = (n for _, n in (*left, *right) if n.operation == "load" and is_float(n.dtype))
        read = [n.dtype for n in nodes if n.attributes[0] in inputs]
        if not read:
            return self.context.operand_dtype
        return read[0] if len(set(read)) == 1 else join_dtypes(*read)

    def _dot(
        self, a: Node, b: Node, axes: tuple[str, ...], dtype: str, outer: list[tuple[Factor, Node]],
        accumulator: Node | None, *, skips: bool,
    ) -> Node:  # fmt: skip
        held = self.context.real if self.context.machine.widens else dtype
        a, b = self.expressions.cast(a, held), self.expressions.cast(b, held)
        kept = self.builder.ordered(tuple(x for x in (*a.axes, *b.axes) if x not in axes))
        fused = accumulator is not None and not outer and set(accumulator.axes) == set(kept)
        operands = (a, b, accumulator) if fused and accumulator is not None else (a, b)
        node = self.builder.node(
            "dot", *operands, axes=kept, dtype=self.context.real, attributes=(axes, dtype, skips)
        )
        if outer:
            node = self._product([(Factor(Const(1.0)), node), *outer])
        if accumulator is not None and not fused:
            node = self.expressions.operate("add", accumulator, node)
        return node

    def _elementwise(
        self, inner: list[tuple[Factor, Node]], outer: list[tuple[Factor, Node]], guard: Node | None,
        axes: tuple[str, ...], scope: Scope, accumulator: Node | None, lanes: int,
    ) -> Node:  # fmt: skip
        varying = [p for p in (*inner, *outer)]
        value = self.expressions.real(self._product(varying))
        result = self._reduce_value(Reduction.SUM, value, guard, axes, scope, lanes)
        return result if accumulator is None else self.expressions.operate("add", accumulator, result)
