"""Reductions of a tile: products to matrix products, everything else elementwise.

The body of a sum is parted into factors. Those with the row axis make one operand, those without it the
other, and where each has the reduced axes and the two share no other axis, the sum is a ``dot`` in the
inputs' dtype, accumulated in f32. A factor over both sides and the reduced axis (an L1 distance) has no
matrix product: it is summed elementwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from attn_dsl.analysis.logic import TRUE, conjunction, conjuncts
from attn_dsl.analysis.widths import fits
from attn_dsl.codegen.lowering.context import KernelContext, Scope
from attn_dsl.codegen.lowering.diagonals import DiagonalSums
from attn_dsl.codegen.lowering.expressions import ExpressionLowering
from attn_dsl.codegen.lowering.products import Factor, Products
from attn_dsl.codegen.lowering.reducing import TileReductions
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.tiles import Node
from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Einsum, Reduction
from attn_dsl.ir.expr import Expr, Read
from attn_dsl.ir.walk import index_names, substitute

MOST_LANES = 2**16  # of a tile, over the axes that it reduces


class ContractionLowering:
    """Inner reductions, and the tile's share of streamed ones."""

    def __init__(self, context: KernelContext, expressions: ExpressionLowering) -> None:
        self.context = context
        self.expressions = expressions
        self.builder = context.builder
        self.tiles = TileReductions(context, expressions)
        self.products = Products(self.tiles)
        self.diagonals = DiagonalSums(self.products)
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
            if self.context.held[part.target] == "i64":
                value = self.expressions.cast(value, "i64")
            result = value if result is None else self.combine(part.reduce, result, value)
        assert result is not None
        return result

    def _selecting(self, where: Expr | None, axes: tuple[str, ...], scope: Scope) -> list[Node]:
        """The conditions that select among the reduced elements. Others make the whole result absent, and
        what an absent element holds is never looked at."""
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
            else self.expressions.where(exists, value, self.tiles.identity(part.reduce, value.dtype))
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
            some = self.tiles.reduce_tile("or", self.tiles.inside(guard, axes, Reduction.ANY, scope), axes)
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
        return self.expressions.operate(reduce.rule.combine, a, b)

    def reduce(
        self, reduce: Reduction, body: Expr, guards: Sequence[Node], axes: tuple[str, ...], scope: Scope,
        accumulator: Node | None = None, lanes: int = 1,
    ) -> Node:  # fmt: skip
        """Reduce a body over the axes of a tile, where all ``guards`` hold. ``accumulator`` is added to (sums
        only). ``lanes``: how many elements a body that does not vary along the axes stands for."""
        if reduce is Reduction.SUM:
            value = self._sum(body, guards, axes, scope, accumulator, lanes)
            if value is not None:
                return value
        node = self.expressions.lower(body, scope)
        if reduce.rule.of_truths:
            node = self._truth(node)
        elif is_float(node.dtype):
            node = self.expressions.real(node)
        else:
            node = self.expressions.cast(node, self._summand(reduce, body))
        return self._reduce_value(reduce, node, self.tiles.counts(guards), axes, scope, lanes)

    def _summand(self, reduce: Reduction, body: Expr) -> str:
        """The dtype in which a tile's integers are reduced."""
        low, high = self.context.widths.of(body)
        match reduce:
            case Reduction.SUM:
                return "i32" if fits((low * MOST_LANES, high * MOST_LANES), "i32") else "i64"
            case Reduction.PRODUCT:
                return "i32" if low >= -1 and high <= 1 else "i64"
            case _:
                return "i32" if fits((low, high), "i32") else "i64"

    def _truth(self, node: Node) -> Node:
        return node if node.dtype == "bool" else self.expressions.operate("ne", node, self.builder.const(0))

    def _reduce_value(
        self, reduce: Reduction, node: Node, guard: Node | None, axes: tuple[str, ...], scope: Scope, lanes: int
    ) -> Node:  # fmt: skip
        if guard is not None:
            node = self.expressions.where(guard, node, self.tiles.identity(reduce, node.dtype))
        node = self.tiles.inside(node, axes, reduce, scope)
        varying = tuple(a for a in axes if a in node.axes)
        repeats = self._repeats(tuple(a for a in axes if a not in varying), lanes)
        if reduce is Reduction.SUM and repeats != 1:
            node = self.expressions.operate("mul", node, self.builder.const(repeats))
        if reduce is Reduction.PRODUCT and repeats != 1:
            node = self.expressions.power(node, repeats)
        return self.tiles.reduce_tile(reduce.rule.combine, node, varying)

    def _repeats(self, axes: tuple[str, ...], lanes: int) -> int:
        repeats = 1
        for axis in axes:
            repeats *= self.context.sizes.get(axis, lanes)
        return repeats

    # sums of products

    def _sum(
        self, body: Expr, guards: Sequence[Node], axes: tuple[str, ...], scope: Scope, accumulator: Node | None,
        lanes: int,
    ) -> Node | None:  # fmt: skip
        parts = self.products.lowered(body, scope)
        if not any(is_float(n.dtype) for _, n in parts) and not any(f.inverted for f, _ in parts):
            return None
        along = self.diagonals.sum(parts, guards, axes, scope, accumulator)
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
            return self._elementwise(inner, outer, self.tiles.counts(guards), axes, scope, accumulator, lanes)
        dtype = self.products.operand_dtype(left, right)
        a, b = self.products.product(left), self.products.product(right)
        others = set(a.axes) & set(b.axes) - set(axes)
        on_a = [g for g in guards if set(g.axes) <= {*a.axes, *axes}]
        on_b = [g for g in guards if g not in on_a and set(g.axes) <= {*b.axes, *axes}]
        guard_fits = len(on_a) + len(on_b) == len(guards)
        complete = set(axes) <= set(a.axes) and set(axes) <= set(b.axes)
        if (
            others
            or not guard_fits
            or not complete
            or row not in a.axes
            or not self.products.has_products(dtype)
        ):
            return self._elementwise(inner, outer, self.tiles.counts(guards), axes, scope, accumulator, lanes)
        guard = self.tiles.counts(on_a)
        if on_b:
            inside = self.expressions.all_of(on_b)
            assert inside is not None
            zero = self.builder.const(0.0, b.dtype if is_float(b.dtype) else self.context.real)
            b = self.expressions.where(inside, b, zero)
        skips = False
        if guard is not None:
            skips = self.context.machine.skips
            a = self.products.counted(guard, self.expressions.real(a), skips=skips)
            if not skips:
                b = self.products.finite_where_used(guard, b, axes, scope)
        a, b = (self.tiles.inside(operand, axes, Reduction.SUM, scope) for operand in (a, b))
        return self.products.dot(a, b, axes, dtype, outer, accumulator, skips=skips)

    def _streamed(self, node: Node, axes: tuple[str, ...]) -> bool:
        """Whether a factor without rows belongs to the streamed operand rather than to the row's."""
        return any(a not in axes for a in node.axes) or len(node.axes) > 0 and not self._is_weight(node, axes)

    def _is_weight(self, node: Node, axes: tuple[str, ...]) -> bool:
        return set(node.axes) <= set(axes) and all(a in self.context.tiles.whole for a in node.axes)

    def _elementwise(
        self, inner: list[tuple[Factor, Node]], outer: list[tuple[Factor, Node]], guard: Node | None,
        axes: tuple[str, ...], scope: Scope, accumulator: Node | None, lanes: int,
    ) -> Node:  # fmt: skip
        varying = [p for p in (*inner, *outer)]
        value = self.expressions.real(self.products.product(varying))
        result = self._reduce_value(Reduction.SUM, value, guard, axes, scope, lanes)
        return result if accumulator is None else self.expressions.operate("add", accumulator, result)
