"""Scalar expressions to tile nodes.

An expression is evaluated at coordinates: an index variable is a scalar (program), a row, a stream lane or
a feature, and reading a computed pointwise tensor evaluates its definition at the slots of the read. So one
rule serves S read at (i, j), a statistic of row i read at key j, and a table read at ``abs(i - j)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attn_dsl.analysis.integers import is_nonnegative
from attn_dsl.analysis.predicates import is_integral
from attn_dsl.analysis.widths import RANGES, fits
from attn_dsl.codegen.lowering.constants import folded, is_fraction, neutral, value_of
from attn_dsl.codegen.lowering.context import KernelContext, Scope, Storage
from attn_dsl.codegen.naming import plain
from attn_dsl.codegen.numbers import is_float, join_dtypes, result_dtype
from attn_dsl.codegen.program import DIGITS, PARTS, Extent, ParamValue, Pointer, Stride
from attn_dsl.codegen.spelling import is_spelt
from attn_dsl.codegen.tiles import Access, Apply, Argument, Choose, Current, Load, Node, named, operations
from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Einsum
from attn_dsl.ir.dtypes import Kind, dtype_kind
from attn_dsl.ir.expr import (
    Cast,
    Const,
    Default,
    Detach,
    Expr,
    IndexVar,
    Member,
    Op,
    ParamRef,
    Read,
    Select,
    SizeOf,
)
from attn_dsl.ir.operators import COMPARISONS, OPERATORS
from attn_dsl.ir.walk import index_names, substitute, walk

# Expressions inside one another, definitions included, before what is further below is lowered first.
_DEEP = 60

SATURATED = 2**61  # two of these are no overflow
_STEPS = frozenset({"add", "sub", "mul", "neg", "floordiv", "min", "max"})


class ExpressionLowering:
    """Lowers expressions for one kernel. ``contract`` evaluates an inner reduction at the slots of a read;
    ``presence_of`` an inner reduction's presence (both are given by ``contraction``)."""

    def __init__(self, context: KernelContext) -> None:
        self.context = context
        self.builder = context.builder
        self._depth = 0
        self._bodies: dict[Read, tuple[Expr, ...]] = {}
        self.contract: Callable[[tuple[Einsum, ...], Read, Scope], Node]
        self.presence_of: Callable[[tuple[Einsum, ...], Read, Scope], Node]

    def lower(self, expr: Expr, scope: Scope) -> Node:
        """The node that holds the value of a total expression."""
        found = scope.memo.get(expr)
        if found is None:
            if self._depth > _DEEP:
                self._lower_definitions(expr, scope)
            self._depth += 1
            found = self._lower(expr, scope)
            self._depth -= 1
            scope.memo[expr] = found
        return found

    def _lower_definitions(self, expr: Expr, scope: Scope) -> None:
        """Lower the computed tensors behind an expression, those first that others read: of a long chain of
        definitions, each then finds the one before it."""
        depth, self._depth = self._depth, 0
        pending = [expr]
        while pending:
            top = pending[-1]
            waiting = [r for r in self._defined_reads(top, scope) if r is not top]
            if waiting:
                pending += reversed(waiting)
                continue
            pending.pop()
            if top is not expr:
                self.lower(top, scope)
        self._depth = depth

    def _defined_reads(self, expr: Expr, scope: Scope) -> Iterator[Read]:
        """The reads that stand for a definition which is not lowered yet: in an expression, or behind a
        read."""
        nodes = (expr,)
        if isinstance(expr, Read) and self._is_defined(expr, scope):
            nodes = (*self._behind(expr), *expr.indices)
        for node in nodes:
            for read in walk(node):
                if isinstance(read, Read) and read not in scope.memo and self._is_defined(read, scope):
                    yield read

    def _is_defined(self, read: Read, scope: Scope) -> bool:
        """Whether a read stands for a definition, evaluated here."""
        if read.tensor.startswith("present:") or read.tensor in scope.running:
            return False
        return not (read.tensor in self.context.storage and self._in_memory(read.tensor))

    def _behind(self, read: Read) -> tuple[Expr, ...]:
        """What a read of a computed tensor stands for, in its own slots: the body of each contribution."""
        if read not in self._bodies:
            parts = self.context.definition(read.tensor)
            values = dict(zip(parts[0].dims, read.indices, strict=True))
            self._bodies[read] = tuple(substitute(p.body, values) for p in parts)
        return self._bodies[read]

    def _lower(self, expr: Expr, scope: Scope) -> Node:
        match expr:
            case Const(value=value):
                return self.builder.const(value, self.context.real if isinstance(value, float) else None)
            case IndexVar(name=name):
                return scope.endpoints[name] if name in scope.endpoints else scope.coordinates[name]
            case SizeOf(index=index):
                return self.size(index)
            case ParamRef(name=name):
                return self._param(name)
            case Read():
                return self._read(expr, scope)
            case Select(condition=c, then=a, otherwise=b):
                return self.where(self.lower(c, scope), self.lower(a, scope), self.lower(b, scope))
            case Cast(dtype=dtype, value=value):
                return self.cast(self.lower(value, scope), dtype)
            case Detach(value=value):
                return self.lower(value, scope)
            case Op(name="uniform", args=args):
                return self._uniform([self.lower(a, scope) for a in args])
            case Op(name=name, args=args) if (formula := OPERATORS[name].formula) and not is_spelt(name):
                return self.lower(formula(*args), scope)
            case Op(name=name, args=args) if self._compares_beyond_64_bits(expr):
                return self.operate(name, *(self.saturated(a, scope) for a in args))
            case Op(args=args):
                return self._operate(expr, self._wide_enough(expr, [self.lower(a, scope) for a in args]))
            case Default(value=value):
                return self.lower(value, scope)  # total_body has left only those that are always present
            case Member():
                raise NotLoweredError(
                    Diagnostic(
                        f"membership in '{expr.tensor}' is not lowered to a kernel yet",
                        expr.span,
                        "pass a boolean input over both indices instead",
                    )
                )

    def size(self, index: str) -> Node:
        """The extent of an index: a constant where the tile holds it whole."""
        if index in self.context.sizes:
            return self.builder.const(self.context.sizes[index])
        name = self.context.argument(Extent(index), f"size_{index}", "i32")
        return self.builder.node(Argument(name), dtype="i32")

    def _param(self, name: str) -> Node:
        if name in self.context.params:
            value = self.context.params[name]
            return self.builder.const(value, self.context.real if isinstance(value, float) else None)
        dtype = "i32" if fits(self.context.widths.of(ParamRef(name)), "i32") else "i64"
        argument = self.context.argument(ParamValue(name), f"param_{name}", dtype)
        return self.builder.node(Argument(argument), dtype=dtype)

    def cast(self, node: Node, dtype: str) -> Node:
        """The value as another dtype."""
        if node.dtype == dtype:
            return node
        number = value_of(node)
        if number is not None and dtype in ("i32", "i64", "f32", "f64") and not is_fraction(number, dtype):
            return self.builder.const(float(number) if is_float(dtype) else int(number), dtype)
        cast = self.builder.node(operations.Cast(), node, dtype=dtype)
        self.context.zero_padded[cast] = self.context.zero_padded.get(node, frozenset())
        return cast

    def real(self, node: Node) -> Node:
        """The value as a real of the pointwise precision."""
        return self.cast(node, self.context.real)

    def where(self, condition: Node, then: Node, otherwise: Node) -> Node:
        """Elementwise choice, in the joint dtype."""
        if then is otherwise:
            return then
        dtype = then.dtype
        if then.dtype != otherwise.dtype:
            dtype = self.context.real if is_float(then.dtype) or is_float(otherwise.dtype) else "i32"
            if dtype == "i32":
                dtype = join_dtypes(then.dtype, otherwise.dtype)
            then, otherwise = self.cast(then, dtype), self.cast(otherwise, dtype)
        return self.builder.node(Choose(), condition, then, otherwise, dtype=dtype)

    def operate(self, name: str, *nodes: Node) -> Node:
        """An operator of the language on nodes, with the language's conversions."""
        dtypes = tuple(n.dtype for n in nodes)
        dtype = result_dtype(name, dtypes, self.context.real)
        operands = nodes
        if name in COMPARISONS:
            joint = self.context.real if any(map(is_float, dtypes)) else join_dtypes(*dtypes)
            operands = tuple(self.cast(n, joint) for n in nodes)
        elif name not in ("and", "or", "not"):
            operands = tuple(self.cast(n, dtype) for n in nodes)
        return self._made(name, operands, dtype)

    def _made(self, name: str, operands: tuple[Node, ...], dtype: str) -> Node:
        number = folded(name, operands, dtype)
        if number is not None:
            return self.builder.const(number, dtype)
        return neutral(name, operands) or self.builder.node(Apply(name), *operands, dtype=dtype)

    def _wide_enough(self, expr: Op, nodes: list[Node]) -> list[Node]:
        """The operands of an operator of integers, in 64 bits where its result may need them."""
        integral = OPERATORS[expr.name].kind(dtype_kind(n.dtype) for n in nodes) is Kind.INTEGER
        if not integral or fits(self.context.widths.of(expr), "i32"):
            return nodes
        return [self.cast(n, "i64") for n in nodes]

    def _operate(self, expr: Op, nodes: list[Node]) -> Node:
        name = expr.name
        if name in COMPARISONS:
            return self.operate(name, *self._narrowed(expr.args, nodes))
        if not any(is_float(n.dtype) for n in nodes):
            return self._of_integers(expr, nodes)
        match expr.args:
            case (_, Const(value=int(exponent))) if name == "pow":
                return self._integer_power(nodes[0], exponent) or self.operate(name, *nodes)
            case _:
                return self.operate(name, *nodes)

    def _of_integers(self, expr: Op, nodes: list[Node]) -> Node:
        name, args = expr.name, expr.args
        held = fits(self.context.widths.unbounded(expr), "i64")
        match name, args:
            case "floordiv" | "mod", (dividend, divisor) if self._are_nonnegative(dividend, divisor):
                return self._divide_by_any(name, nodes[0], nodes[1], self.context.widths.of(divisor)[0] > 0)
            case "shl" | "shr", (_, count) if not self._is_shift(count, nodes[0].dtype):
                dtype = join_dtypes(*(n.dtype for n in nodes))
                return self._made(f"any_{name}", tuple(self.cast(n, dtype) for n in nodes), dtype)
            case "add" | "sub" | "mul" | "neg", _ if not held:
                return self._made(f"wrapping_{name}", tuple(nodes), "i64")
            case "pow", (_, Const(value=int(exponent))) if held:
                return self._integer_power(nodes[0], exponent) or self.operate(name, *nodes)
            case _:
                return self.operate(name, *nodes)

    def saturated(self, expr: Expr, scope: Scope) -> Node:
        """A side of a comparison or a limit, saturated where it may leave 64 bits: ``j <= n - 1`` for the
        least n bounds j by nothing possible, not by the largest integer."""
        match expr:
            case Op(name=name, args=args) if name in _STEPS and self._leaves_64_bits(expr):
                nodes = [self.saturated(a, scope) for a in args]
                if name not in ("floordiv", "min", "max"):
                    room = self._room(expr)
                    nodes = [self._clamped(n, most) for n, most in zip(nodes, room, strict=True)]
                return self.operate(name, *nodes)
            case _:
                return self.lower(expr, scope)

    def _compares_beyond_64_bits(self, expr: Op) -> bool:
        if expr.name not in COMPARISONS or not any(map(self._leaves_64_bits, expr.args)):
            return False
        return is_integral(expr, self.context.cascade)

    def _leaves_64_bits(self, expr: Expr) -> bool:
        if not isinstance(expr, Op) or expr.name not in _STEPS:
            return False
        inside = fits(self.context.widths.unbounded(expr), "i64")
        return not inside or any(map(self._leaves_64_bits, expr.args))

    def _room(self, expr: Op) -> list[int]:
        """The magnitude that each operand may have."""
        if expr.name != "mul":
            return [SATURATED] * len(expr.args)
        sizes = [max(map(abs, self.context.widths.of(a))) for a in expr.args]
        return [max(SATURATED // max(other, 1), 2**30) for other in reversed(sizes)]

    def _clamped(self, node: Node, most: int) -> Node:
        wide = self.cast(node, "i64")
        return self.operate("clamp", wide, self.builder.const(-most, "i64"), self.builder.const(most, "i64"))

    def _narrowed(self, args: tuple[Expr, ...], nodes: list[Node]) -> list[Node]:
        """The sides of a comparison. One of 64 bits that varies with less than both do, a length or a window,
        is saturated: to what has 32 bits, all values beyond are alike."""
        axes, result = self.builder.union(*nodes), list(nodes)
        for at, other in ((0, 1), (1, 0)):
            low, high = self.context.widths.of(args[other])
            inside = fits((low - 1, high + 1), "i32") and not is_float(nodes[other].dtype)
            if nodes[at].dtype == "i64" and nodes[other].dtype != "i64" and inside and nodes[at].axes != axes:
                ends = [self.builder.const(n, "i64") for n in RANGES["i32"]]
                result[at] = self.cast(self.operate("clamp", nodes[at], *ends), "i32")
        return result

    def _are_nonnegative(self, *exprs: Expr) -> bool:
        params = self.context.params
        return all(self.context.widths.of(e)[0] >= 0 or is_nonnegative(e, params) for e in exprs)

    def _is_shift(self, count: Expr, dtype: str) -> bool:
        """Whether a machine shifts a value of the dtype by as much."""
        low, high = self.context.widths.of(count)
        return low >= 0 and high < (64 if dtype == "i64" else 32)

    def _divide_by_any(self, name: str, dividend: Node, divisor: Node, positive: bool) -> Node:
        """Division of non-negative integers; by 0 it gives 0."""
        if positive:
            return self.divide(name, dividend, divisor)
        some = self.operate("max", divisor, self.builder.const(1))
        is_zero = self.operate("eq", divisor, self.builder.const(0))
        return self.where(is_zero, self.builder.const(0), self.divide(name, dividend, some))

    def divide(self, name: str, dividend: Node, divisor: Node) -> Node:
        """``floordiv`` or ``mod`` of a non-negative by a positive integer: the machine's own division."""
        dtype = join_dtypes(dividend.dtype, divisor.dtype)
        return self._made(f"u{name}", (self.cast(dividend, dtype), self.cast(divisor, dtype)), dtype)

    def tiles(self, lanes: Node, index: str, tile: int, *, up: bool = False) -> Node:
        """How many tiles of an index so many lanes (none negative) are: whole ones, or ``up`` to the last one
        begun."""
        if tile == 1 or value_of(lanes) == 0:
            return lanes
        size = self.builder.node(operations.TileSize(index), dtype="i32")
        return self._made("uceildiv" if up else "ufloordiv", (lanes, size), lanes.dtype)

    def _integer_power(self, base: Node, exponent: int) -> Node | None:
        """The small powers of formulas."""
        return self.power(base, exponent) if 1 <= exponent <= 16 else None

    def power(self, base: Node, exponent: int) -> Node:
        """A power of a positive integer exponent, by repeated squaring."""
        result: Node | None = None
        square = base if base.dtype != "bool" else self.cast(base, "i32")
        while exponent:
            if exponent & 1:
                result = square if result is None else self.operate("mul", result, square)
            exponent >>= 1
            if exponent:
                square = self.operate("mul", square, square)
        assert result is not None
        return result

    def _uniform(self, nodes: list[Node]) -> Node:
        counters = [self.cast(n, "i32") for n in nodes[1:]]
        counters += [self.builder.const(0)] * (4 - len(counters))
        return self.builder.node(Apply("uniform"), nodes[0], *counters, dtype="f32")

    # reads

    def _read(self, read: Read, scope: Scope) -> Node:
        if read.tensor.startswith("present:"):
            return self._read_presence(read, scope)
        if read.tensor in scope.running:
            return scope.running[read.tensor]
        if not self._is_defined(read, scope):
            return self.load(read, scope)
        parts = self.context.definition(read.tensor)
        if parts[0].reduce is None:
            node = self.lower(self._behind(read)[0], scope)
        else:
            node = self.contract(parts, read, scope)
        self.label(node, read, parts)
        return node

    def label(self, node: Node, read: Read, parts: tuple[Einsum, ...]) -> None:
        """Give a node its tensor's name and statements, where it is read at the tensor's own indices."""
        own = read.indices == tuple(IndexVar(d) for d in parts[0].dims)
        simple = isinstance(node.operation, operations.Const | Argument | Current | Load)
        if own and node.name is None and not simple:
            node.name = read.tensor
            written = self.context.flow.by_target[read.tensor]
            node.comment = "\n".join(self.context.comment(p) for p in written if isinstance(p, Einsum))

    def _in_memory(self, tensor: str) -> bool:
        return self.context.cascade.input(tensor) is not None or tensor in self.context.plan.available

    def _read_presence(self, read: Read, scope: Scope) -> Node:
        tensor = read.tensor.removeprefix("present:")
        if tensor in scope.present:
            return scope.present[tensor]
        if {tensor, read.tensor} & self.context.plan.available and read.tensor in self.context.storage:
            stored = self.load(read, scope)
            return self.operate("ne", stored, self.builder.const(0))
        return self.presence_of(self.context.definition(tensor), read, scope)

    def load(self, read: Read, scope: Scope) -> Node:
        """Read a tensor in memory at its slots; lanes out of bounds read 0."""
        access, places, mask = self.access(read, scope)
        operands = places if mask is None else (*places, mask)
        node = self.builder.node(Load(access), *operands, dtype=self.context.storage[read.tensor].dtype)
        own = {s.name for s in read.indices if isinstance(s, IndexVar)}
        self.context.zero_padded[node] = frozenset(own & set(self.context.tiles.whole))
        return node

    def access(self, read: Read, scope: Scope) -> tuple[Access, tuple[Node, ...], Node | None]:
        """What a read accesses, the place along each axis of it, and the mask of its lanes that are in
        bounds."""
        storage = self.context.storage[read.tensor]
        slots = dict(zip(self._slot_dims(read.tensor), read.indices, strict=True))
        places: list[Node] = []
        strides: list[str | None] = []
        masks: dict[Node, None] = {}
        for position, axis in enumerate(storage.axes):
            place: Node | None = None
            if axis == (DIGITS,):
                continue
            for dim in axis:
                slot = slots[dim]
                coordinate = self.lower(slot, scope)
                masks |= dict.fromkeys(self._bounds(slot, dim, coordinate, scope))
                if place is not None:
                    place = self.operate("mul", place, self.size(dim))
                    coordinate = self.operate("add", place, coordinate)
                place = coordinate
            assert place is not None
            places.append(place)
            strides.append(self._stride(read.tensor, storage, position))
        pointer = self.context.argument(
            Pointer(read.tensor),
            f"{plain(read.tensor)}_ptr",
            storage.dtype,
            aligned=storage.stride_divisor > 1,
        )
        return Access(read.tensor, pointer, tuple(strides)), tuple(places), self.all_of(list(masks))

    def _stride(self, tensor: str, storage: Storage, position: int) -> str | None:
        """The argument with the stride of an axis; None where it is one."""
        if position == len(storage.axes) - 1 and storage.contiguous:
            return None
        return self.context.argument(
            Stride(tensor, position),
            f"stride_{plain(tensor)}_{'_'.join(storage.axes[position]).lstrip('_') or position}",
            "i64",
            aligned=storage.stride_divisor > 1,
        )

    def _slot_dims(self, tensor: str) -> tuple[str, ...]:
        sent = next((s for s in self.context.cascade.sendings if s.tensor == tensor), None)
        if sent is not None:
            parted = self.context.storage[tensor].axes[0] == (PARTS,)
            return (PARTS, *sent.dims) if parted else sent.dims
        return self.context.flow.dims(tensor.removeprefix("present:"))

    def _bounds(self, slot: Expr, dim: str, coordinate: Node, scope: Scope) -> list[Node]:
        """What must hold for a slot to lie within its dimension, beyond what the tiles guarantee."""
        if slot == IndexVar(dim):
            return self.lane_bounds(dim, scope)
        upper = self.operate("lt", coordinate, self.size(dim))
        lower = self.operate("ge", coordinate, self.builder.const(0))
        needed = [upper] if is_nonnegative(slot, self.context.params) else [lower, upper]
        return [n for n in needed if n.operation != operations.Const(True)]

    def lane_bounds(self, index: str, scope: Scope) -> list[Node]:
        """Which lanes of an index exist: none to test for a program index, a tile that is full or of one
        lane, an unpadded extent."""
        plan, tiles = self.context.plan, self.context.tiles
        tiled = index in plan.rows or (index in scope.stream and scope.masked)
        tiled = tiled and {**dict(tiles.rows), **tiles.streams}[index] > 1
        padded = index in tiles.whole and tiles.whole[index] != self.context.sizes[index]
        if not (tiled or padded):
            return []
        return [named(self.operate("lt", scope.coordinates[index], self.size(index)), f"inside_{index}")]

    def all_of(self, conditions: list[Node]) -> Node | None:
        """The conjunction; outermost first, so that what does not vary in a loop is joined before it."""
        ordered = sorted(conditions, key=lambda n: (n.block.order, len(n.axes)))
        result: Node | None = None
        for condition in ordered:
            result = condition if result is None else self.operate("and", result, condition)
        return result


def stream_indices(expr: Expr, streams: frozenset[str]) -> frozenset[str]:
    """The stream indices an expression varies with."""
    return frozenset(index_names(expr)) & streams
