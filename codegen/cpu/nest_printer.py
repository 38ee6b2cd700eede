"""A loop nest as text: locals at the depth of the loops they vary with, the items innermost."""

from __future__ import annotations

from attn_dsl.codegen.cpu.expressions import (
    LANES,
    VALUES,
    combine,
    constant,
    operation,
    read,
    written,
)
from attn_dsl.codegen.cpu.items import ATOMS, Begin, Compute, Item, Product, Reduce, Update, Write, operands
from attn_dsl.codegen.cpu.names import Names
from attn_dsl.codegen.cpu.nests import Arrangement, Nest, is_turn
from attn_dsl.codegen.naming import Tile
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.tiles import Node, Store


class NestPrinter:
    """Prints nests. One nest at a time: the locals of the current one, and the lines at each depth."""

    def __init__(self, arrangement: Arrangement, names: Names) -> None:
        self.arrangement = arrangement
        self.names = names
        self._axes: tuple[str, ...] = ()
        self._lines: list[list[str]] = [[]]
        self._locals: dict[int, str] = {}
        self._uses: dict[int, int] = {}
        self._updates: list[Update] = []
        self._after: list[str] = []
        self._in_order = False
        self._far: str | None = None

    def lines(self, nest: Nest) -> list[str]:
        """The loops of a nest, or its straight lines. Sines of angles near 0 have no branches; where some lane's angle
        is far away, the lanes are computed once more, by functions that take any."""
        self._far = None
        if not (nest.turns and nest.axes):
            return self._once(nest)
        far = self._far = self.names.temporary("far")
        near = self._once(nest)
        self._far = None
        again = [f"    {line}" for line in self._once(nest) if not line.lstrip().startswith("//")]
        return [f"int32_t {far} = 0;", *near, f"if ({far} != 0) {{", *again, "}"]

    def _once(self, nest: Nest) -> list[str]:
        self._axes = self._loop_order(nest)
        self._in_order = nest.in_order
        self._lines = [[] for _ in range(len(self._axes) + 1)]
        self._after: list[str] = []
        self._locals = {}
        self._uses = {}
        for item in nest.items:
            for node in operands(item):
                self._count(node)
        with self.names.scope():
            if nest.axes:
                self._fill(nest)
                return self._laid_out()
        self._fill(nest)
        return self._lines[0]

    def scalar(self, node: Node) -> str:
        """A node without axes, in a line of its own."""
        self._uses, self._locals, self._axes, self._lines = {}, {}, (), [[]]
        return self._text(node)

    def result(self, item: Item) -> Node | None:
        """The node an item gives the value of."""
        return item.node if isinstance(item, Compute | Reduce | Begin | Product) else None

    def _fill(self, nest: Nest) -> None:
        self._updates = [i for i in nest.items if isinstance(i, Update)]
        for item in nest.items:
            if self._updates and item is self._updates[0]:
                self._keep_old_values()
            self._item(item)

    def _keep_old_values(self) -> None:
        """The next value of a state that depends on another's old one is computed before that is overwritten."""
        overwritten: set[str] = set()
        for update in self._updates:
            if self._states_read(update.value) & overwritten:
                self._define(update.value, outlives=False)
            overwritten.add(update.state.name)

    def _states_read(self, node: Node) -> set[str]:
        if id(node) in self._locals:
            return set()
        if node.operation == "state":
            return {node.attributes[0]}
        if self.names.known(node):
            return set()
        return {name for operand in node.operands for name in self._states_read(operand)}

    def _loop_order(self, nest: Nest) -> tuple[str, ...]:
        """Rows innermost; or the axis that is contiguous in memory, where a nest only moves data."""
        if nest.in_order:
            return nest.axes
        units = {unit_axis(offset) for item in nest.items if (offset := _moves(item)) is not None}
        if len(units) == 1 and len(nest.axes) > 1:
            (unit,) = units
            others = [i for i in nest.items if _moves(i) is None and not isinstance(i, Compute)]
            if unit in nest.axes and not others:
                return (*(a for a in nest.axes if a != unit), unit)
        return nest.axes

    def _laid_out(self) -> list[str]:
        lines: list[str] = list(self._lines[0])
        for depth, axis in enumerate(self._axes):
            indent = "    " * depth
            if depth == len(self._axes) - 1 and not self._in_order:
                lines.append(f"{indent}ATTN_LANES")
            lane, count = self.names.lane[axis], self.names.lanes.text[axis]
            lines.append(f"{indent}for (int32_t {lane} = 0; {lane} < {count}; ++{lane}) {{")
            lines += [f"{indent}    {line}" for line in self._lines[depth + 1]]
        inside = "    " * (len(self._axes) - 1)
        lines += [f"{inside}}}", *(f"{inside}{line}" for line in self._after)]
        return lines + ["    " * depth + "}" for depth in reversed(range(len(self._axes) - 1))]

    # items

    def _item(self, item: Item) -> None:
        innermost = self._lines[-1]
        match item:
            case Compute(node=node):
                self._compute(node)
            case Reduce(node=node):
                self._reduce(node)
            case Begin(node=node):
                start = self._text(node.operands[2]) if len(node.operands) > 2 else "0"
                target = self.names.element(node)
                if start != target:
                    innermost.append(f"{target} = {start};")
            case Update(state=state, value=value):
                axes = self.arrangement.ordered(state.axes)
                target = state.name + "".join(f"[{self.names.lane[a]}]" for a in axes)
                innermost.append(f"{target} = {self._converted(value, state.dtype)};")
            case Write(store=store):
                innermost.append(self._write(store))
            case Product():
                raise AssertionError("a product is a call, not a nest")

    def _reduce(self, node: Node) -> None:
        """One more lane. A result that does not vary along the innermost loop is carried round it in a local:
        the loop's lanes depend on each other in it, and must do so where the compiler sees it."""
        target, (operand,) = self.names.element(node), node.operands
        value = self._text(operand)
        if node.axes and self._axes[-1] not in node.axes:
            carried = self.names.temporary(f"{self.names.of(node)}_lane")
            self._lines[-2].append(f"{LANES[node.dtype]} {carried} = {target};")
            self._after.append(f"{target} = {carried};")
            target = carried
        self._lines[-1].append(f"{target} = {combine(node.attributes[0], target, value)};")

    def _compute(self, node: Node) -> None:
        if id(node) in self.arrangement.stored and node.axes:
            text = self._expression(node)
            self._lines[-1].append(f"{self.names.element(node)} = {text};")
            return
        self._text(node, defined=True)

    def _converted(self, node: Node, dtype: str) -> str:
        text = self._text(node)
        return text if VALUES[node.dtype] == VALUES[dtype] else f"{LANES[dtype]}({text})"

    def _write(self, store: Store) -> str:
        dtype = self.names.arguments[store.tensor]
        target = f"{store.tensor}[{self._text(store.offset)}]"
        operator = "+=" if store.adds else "="
        line = f"{target} {operator} {written(self._text(store.value), dtype)};"
        return line if store.mask is None else f"if ({self._text(store.mask)}) {line}"

    # values

    def _count(self, node: Node) -> None:
        self._uses[id(node)] = self._uses.get(id(node), 0) + 1
        if self._uses[id(node)] == 1 and not self._is_leaf(node):
            for operand in node.operands:
                self._count(operand)

    def _is_leaf(self, node: Node) -> bool:
        return node.operation in ATOMS or self.names.known(node)

    def _text(self, node: Node, defined: bool = False) -> str:
        """A value as an operand. ``defined``: at its own place in the nest."""
        if id(node) in self._locals:
            return self._locals[id(node)]
        if node.operation in ATOMS:
            return self._atom(node)
        if self.names.known(node):
            return self.names.element(node)
        if node.operation == "arange":
            return self.names.lane[node.axes[0]]
        cheap = self.arrangement.items.is_cheap(node)
        outlives = not node.axes and not self._axes
        needed = outlives and id(node) in self.arrangement.outliving
        if not needed and not self._is_local(node, cheap):
            return "" if defined else self._expression(node)
        return self._define(node, outlives)

    def _is_local(self, node: Node, cheap: bool) -> bool:
        if node.name is not None and (node.comment or not cheap or self._uses.get(id(node), 0) > 1):
            return not node.name.endswith("_next") or self._uses.get(id(node), 0) > 1
        return self._uses.get(id(node), 0) > 1

    def _define(self, node: Node, outlives: bool) -> str:
        text = self._expression(node)
        depth = max((self._axes.index(a) + 1 for a in node.axes), default=0)
        if node.comment:
            self._lines[depth] += [f"// {line}" for line in node.comment.splitlines()]
        name = self.names.fresh(node.name or self.names.label(node), node)
        if not outlives:
            self._locals[id(node)] = name
            self.names.forget(node)
        self._lines[depth].append(f"const {VALUES[node.dtype]} {name} = {text};")
        return name

    def _atom(self, node: Node) -> str:
        match node.operation:
            case "const":
                return constant(node)
            case "argument":
                return str(node.attributes[0])
            case "state":
                text = self.names.element(node)
                return f"bool({text})" if node.dtype == "bool" else text
            case "block":
                return self.names.namer.texts[Tile(node.attributes[0])]
            case "program" | "part":
                return node.operation
            case _:
                return self.names.of(node)

    def _expression(self, node: Node) -> str:
        if node.operation == "gather":
            source, lane = node.operands
            return self.names.element(source, {node.attributes[0]: self._text(lane)})
        if is_turn(node):
            return self._turn(node)
        parts = [self._text(o) for o in node.operands]
        if node.operation != "load":
            return operation(node, parts)
        pointer = node.attributes[0]
        element = read(pointer, parts[0], self.names.arguments[pointer])
        return element if len(parts) == 1 else f"({parts[1]} ? {element} : {_zero(node.dtype)})"

    def _turn(self, node: Node) -> str:
        (angle,) = node.operands
        depth = max((self._axes.index(a) + 1 for a in node.axes), default=0)
        if self._far is None or depth == 0:
            return f"attn::{node.operation}_of_any({self._text(angle)})"
        stored = self.names.known(angle) or angle.operation in ATOMS or id(angle) in self._locals
        text = self._text(angle) if stored else self._define(angle, outlives=False)
        self._lines[depth].append(f"{self._far} |= attn::is_far({text});")
        return f"attn::{node.operation}_({text})"


def _zero(dtype: str) -> str:
    return f"{VALUES[dtype]}(0)"


def _moves(item: Item) -> Node | None:
    """The offset of an item that moves data between memory and a tile."""
    match item:
        case Compute(node=Node(operation="load", operands=operands)):
            return operands[0]
        case Write(store=store):
            return store.offset
        case _:
            return None


def unit_axis(offset: Node) -> str | None:
    """The axis along which an offset grows by one."""
    match offset:
        case Node(operation="add", operands=(a, b)):
            return unit_axis(a) or unit_axis(b)
        case Node(operation="cast", operands=(inner,)) if not is_float(inner.dtype):
            return unit_axis(inner)
        case Node(operation="arange", axes=(axis,)):
            return axis
        case _:
            return None
