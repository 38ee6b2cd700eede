"""Products of the factors of a sum, and products of matrices."""

from __future__ import annotations

from dataclasses import dataclass

from attn_dsl.codegen.lowering.context import Scope
from attn_dsl.codegen.lowering.reducing import TileReductions
from attn_dsl.codegen.numbers import is_float, join_dtypes
from attn_dsl.codegen.tiles import Counted, Dot, Load, Node
from attn_dsl.ir.expr import Const, Detach, Expr, Op


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


class Products:
    """Multiplies nodes."""

    def __init__(self, tiles: TileReductions) -> None:
        self.tiles = tiles
        self.context = tiles.context
        self.expressions = tiles.expressions
        self.builder = tiles.builder

    def lowered(self, body: Expr, scope: Scope) -> list[tuple[Factor, Node]]:
        """The factors of a body and their values."""
        return [(f, self.expressions.lower(f.expr, scope)) for f in factors(body)]

    def has_products(self, dtype: str) -> bool:
        return dtype != "f64" or self.context.machine.double_products

    def product(self, parts: list[tuple[Factor, Node]]) -> Node:
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

    def operand_dtype(self, left: list[tuple[Factor, Node]], right: list[tuple[Factor, Node]]) -> str:
        """Products are taken in the dtype of the inputs that are factors themselves, else of the result."""
        read = [
            node.dtype
            for _, node in (*left, *right)
            if isinstance(node.operation, Load)
            and is_float(node.dtype)
            and self.context.cascade.input(node.operation.access.tensor) is not None
        ]
        if not read:
            return self.context.operand_dtype
        return read[0] if len(set(read)) == 1 else join_dtypes(*read)

    def dot(
        self, a: Node, b: Node, axes: tuple[str, ...], dtype: str, outer: list[tuple[Factor, Node]],
        accumulator: Node | None, *, skips: bool,
    ) -> Node:  # fmt: skip
        held = self.context.real if self.context.machine.widens else dtype
        a, b = self.expressions.cast(a, held), self.expressions.cast(b, held)
        kept = self.builder.ordered(tuple(x for x in (*a.axes, *b.axes) if x not in axes))
        fused = accumulator is not None and not outer and set(accumulator.axes) == set(kept)
        operands = (a, b, accumulator) if fused and accumulator is not None else (a, b)
        node = self.builder.node(Dot(axes, dtype, skips), *operands, axes=kept, dtype=self.context.real)
        if outer:
            node = self.product([(Factor(Const(1.0)), node), *outer])
        if accumulator is not None and not fused:
            node = self.expressions.operate("add", accumulator, node)
        return node

    def counted(self, guard: Node, value: Node, *, skips: bool) -> Node:
        """0 in lanes that do not count; -0 there and nowhere else, where the product is to tell them
        apart."""
        if not skips:
            return self.expressions.where(guard, value, self.builder.const(0.0, value.dtype))
        axes = self.builder.ordered((*guard.axes, *(a for a in value.axes if a not in guard.axes)))
        return self.builder.node(Counted(), guard, value, axes=axes, dtype=value.dtype)

    def finite_where_used(self, guard: Node, operand: Node, axes: tuple[str, ...], scope: Scope) -> Node:
        """A key that no row of the tile sees must not reach it, whatever it holds: 0 * nan is nan."""
        rows = [b for r in self.context.plan.rows for b in self.expressions.lane_bounds(r, scope)]
        seen = self.expressions.all_of([guard, *rows])
        assert seen is not None
        for axis in [a for a in seen.axes if a not in axes]:
            seen = self.tiles.reduce_tile("or", seen, (axis,))
        zero = self.builder.const(0.0, operand.dtype if is_float(operand.dtype) else self.context.real)
        return self.expressions.where(seen, operand, zero) if seen.axes else operand
