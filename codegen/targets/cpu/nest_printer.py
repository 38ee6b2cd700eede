"""A loop nest as text: locals at the depth of the loops they vary with, the items innermost."""

from __future__ import annotations

from collections import Counter as Counts

from attn_dsl.codegen.brackets import Text
from attn_dsl.codegen.naming import Tile
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.targets.cpu.expressions import (
    LANES,
    VALUES,
    choice,
    combine,
    constant,
    operation,
    read,
    written,
)
from attn_dsl.codegen.targets.cpu.items import (
    Atom,
    Begin,
    Compute,
    Item,
    Product,
    Reduce,
    Update,
    Write,
    operands,
    widens,
)
from attn_dsl.codegen.targets.cpu.names import Names
from attn_dsl.codegen.targets.cpu.nests import Arrangement, Nest, is_turn
from attn_dsl.codegen.tiles import (
    Apply,
    Argument,
    Const,
    Current,
    Gather,
    KernelBody,
    Lanes,
    LoadAt,
    Loop,
    Node,
    Part,
    Program,
    StoreAt,
    TileSize,
    living_nodes,
    roots_of,
)
from attn_dsl.codegen.tiles import Reduce as TileReduce

_LONGEST = 60  # columns of a scalar expression inside another
_SUMS = (Apply("add"), Apply("sub"), Apply("mul"))


class NestPrinter:
    """Prints nests. One nest at a time: the locals of the current one, and the lines at each depth."""

    def __init__(self, body: KernelBody, arrangement: Arrangement, names: Names) -> None:
        self.arrangement = arrangement
        self.names = names
        self._references = _references(body)
        self._inline: dict[Node, Text] = {}
        self._axes: tuple[str, ...] = ()
        self._lines: list[list[str]] = [[]]
        self._locals: dict[Node, str] = {}
        self._uses: dict[Node, int] = {}
        self._updates: list[Update] = []
        self._after: list[str] = []
        self._in_order = False
        self._far: str | None = None

    def lines(self, nest: Nest) -> list[str]:
        """The loops of a nest, or its straight lines. Sines of angles near 0 have no branches; where some
        lane's angle is far away, the lanes are computed once more, by functions that take any."""
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
        self._after = []
        self._locals = {}
        self._uses = {}
        made = {item.node for item in nest.items if isinstance(item, Compute)}
        for item in nest.items:
            for node in operands(item):
                self._count(node, made)
        with self.names.scope():
            if nest.axes:
                self._fill(nest)
                return self._laid_out()
        self._fill(nest)
        return self._lines[0]

    def scalar(self, node: Node) -> Text:
        """A node without axes, where a loop is counted or asked whether it runs."""
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
        """The next value of a state that depends on another's old one is computed before that is
        overwritten."""
        overwritten: set[str] = set()
        for update in self._updates:
            if self._states_read(update.value) & overwritten:
                self._define(update.value, outlives=False)
            overwritten.add(update.state.name)

    def _states_read(self, node: Node) -> set[str]:
        if node in self._locals:
            return set()
        if isinstance(node.operation, Current):
            return {node.operation.state}
        if self.names.known(node):
            return set()
        return {name for operand in node.operands for name in self._states_read(operand)}

    def _loop_order(self, nest: Nest) -> tuple[str, ...]:
        """Rows innermost; or the axis that is contiguous in memory, where a nest only moves data."""
        if nest.in_order:
            return nest.axes
        moved = [i for i in nest.items if _moves(i)]
        units = {_unit(i) for i in moved}
        if len(units) == 1 and len(nest.axes) > 1:
            (unit,) = units
            others = [i for i in nest.items if i not in moved and not isinstance(i, Compute)]
            if unit in nest.axes and not others:
                return (*(a for a in nest.axes if a != unit), unit)
        return nest.axes

    def _laid_out(self) -> list[str]:
        lines: list[str] = list(self._lines[0])
        if not any(self._lines[1:]):
            return lines  # what there was to compute is printed where it is used
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
                start = self._text(node.operands[2]).text if len(node.operands) > 2 else "0"
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
        assert isinstance(node.operation, TileReduce)
        target, (operand,) = self.names.element(node), node.operands
        value = self._text(operand).atom
        if node.axes and self._axes[-1] not in node.axes:
            carried = self.names.temporary(f"{self.names.of(node)}_lane")
            self._lines[-2].append(f"{LANES[node.dtype]} {carried} = {target};")
            self._after.append(f"{target} = {carried};")
            target = carried
        self._lines[-1].append(f"{target} = {combine(node.operation.by, target, value)};")

    def _compute(self, node: Node) -> None:
        if node in self.arrangement.stored and node.axes:
            text = self._expression(node)
            self._lines[-1].append(f"{self.names.element(node)} = {text};")
            return
        self._text(node, defined=True)

    def _converted(self, node: Node, dtype: str) -> str:
        text = self._text(node).text
        return text if VALUES[node.dtype] == VALUES[dtype] else f"{LANES[dtype]}({text})"

    def _write(self, store: StoreAt) -> str:
        dtype = self.names.arguments[store.pointer]
        target = f"{store.pointer}[{self._text(_narrow(store.offset))}]"
        operator = "+=" if store.adds else "="
        line = f"{target} {operator} {written(self._text(store.value), dtype)};"
        return line if store.mask is None else f"if ({self._text(store.mask)}) {line}"

    # values

    def _count(self, node: Node, made: set[Node]) -> None:
        """One more use of a node. ``made``: those that have an item here, which counts what they use."""
        if widens(node):
            self._count(node.operands[0], made)
            return
        self._uses[node] = self._uses.get(node, 0) + 1
        if self._uses[node] == 1 and node not in made and not self._is_leaf(node):
            for operand in node.operands:
                self._count(operand, made)

    def _is_leaf(self, node: Node) -> bool:
        return isinstance(node.operation, Atom) or self.names.known(node) or node in self._inline

    def _text(self, node: Node, defined: bool = False) -> Text:
        """A value as an operand. ``defined``: at its own place in the nest."""
        if node in self._locals:
            return Text(self._locals[node])
        if node in self._inline:
            return self._inline[node]
        if isinstance(node.operation, Atom):
            return self._atom(node)
        if self.names.known(node):
            return Text(self.names.element(node))
        if isinstance(node.operation, Lanes):
            return Text(self.names.lane[node.axes[0]])
        if widens(node):
            return Text("") if defined else self._expression(node)
        cheap = self.arrangement.items.is_cheap(node)
        outlives = not node.axes and not self._axes
        needed = outlives and node in self.arrangement.outliving
        if needed and self._is_short(node):
            self._inline[node] = self._expression(node)
            return self._inline[node]
        if not needed and not self._is_local(node, cheap):
            return Text("") if defined else self._expression(node)
        return Text(self._define(node, outlives))

    def _is_short(self, node: Node) -> bool:
        """Whether a scalar is printed where it is used, though that is in another nest: once, and in a few
        words."""
        if node.name is not None or self._references[node] != 1 or not self._lasts(node):
            return False
        return len(self._expression(node).text) <= _LONGEST

    def _lasts(self, node: Node) -> bool:
        """Whether an expression means the same in another nest: it is made of what has a name there, and no
        state moves."""
        match node.operation:
            case Current() | LoadAt():
                return False
            case _ if isinstance(node.operation, Atom) or node in self._inline:
                return True
            case _:
                known = self.names.known(node) and node not in self._locals
                return known or (node not in self._locals and all(map(self._lasts, node.operands)))

    def _is_local(self, node: Node, cheap: bool) -> bool:
        if node.name is not None and (node.comment or not cheap or self._uses.get(node, 0) > 1):
            return not node.name.endswith("_next") or self._uses.get(node, 0) > 1
        return self._uses.get(node, 0) > 1

    def _define(self, node: Node, outlives: bool) -> str:
        text = self._expression(node)
        depth = max((self._axes.index(a) + 1 for a in node.axes), default=0)
        if node.comment:
            self._lines[depth] += [f"// {line}" for line in node.comment.splitlines()]
        name = self.names.fresh(node.name or self.names.label(node), node)
        if not outlives:
            self._locals[node] = name
            self.names.forget(node)
        self._lines[depth].append(f"const {VALUES[node.dtype]} {name} = {text};")
        return name

    def _atom(self, node: Node) -> Text:
        match node.operation:
            case Const():
                return constant(node)
            case Argument(name=name):
                return Text(name)
            case Current():
                text = self.names.element(node)
                return Text(f"bool({text})" if node.dtype == "bool" else text)
            case TileSize(index=index):
                return Text(self.names.namer.texts[Tile(index)])
            case Program():
                return Text("program")
            case Part():
                return Text("part")
            case _:
                return Text(self.names.of(node))

    def _expression(self, node: Node) -> Text:
        match node.operation:
            case Gather(axis=axis):
                source, lane = node.operands
                return Text(self.names.element(source, {axis: self._text(lane).text}))
            case LoadAt(pointer=pointer):
                offset, *mask = node.operands
                element = read(pointer, self._text(_narrow(offset)), self.names.arguments[pointer])
                zero = Text(f"{VALUES[node.dtype]}(0)")
                return choice(self._text(mask[0]), element, zero) if mask else element
            case _ if is_turn(node):
                return self._turn(node)
            case _:
                return operation(node, [self._text(o) for o in _promoted(node)])

    def _turn(self, node: Node) -> Text:
        assert isinstance(node.operation, Apply)
        (angle,) = node.operands
        depth = max((self._axes.index(a) + 1 for a in node.axes), default=0)
        if self._far is None or depth == 0:
            return Text(f"attn::{node.operation.name}_of_any({self._text(angle)})")
        stored = self._is_leaf(angle) or angle in self._locals
        text = self._text(angle).text if stored else self._define(angle, outlives=False)
        self._lines[depth].append(f"{self._far} |= attn::is_far({text});")
        return Text(f"attn::{node.operation.name}_({text})")


def _references(body: KernelBody) -> Counts[Node]:
    """How often each living node is used, in the whole kernel."""
    found = Counts(operand for node in living_nodes(body) for operand in node.operands)
    found.update(root for block in body.blocks for root in roots_of(block))
    for loop in (i for i in body.items if isinstance(i, Loop)):
        found.update((loop.count,) if loop.condition is None else (loop.count, loop.condition))
    return found


def _narrow(node: Node) -> Node:
    """A place in memory, which may have 32 bits."""
    return node.operands[0] if widens(node) else node


def _promoted(node: Node) -> tuple[Node, ...]:
    """The operands of a sum or product, those that C++ widens by itself as they are."""
    if node.dtype == "i64" and node.operation in _SUMS:
        plain = tuple(map(_narrow, node.operands))
        if any(not is_float(o.dtype) and o.dtype == "i64" for o in plain):
            return plain
    return node.operands


def _moves(item: Item) -> bool:
    """Whether an item moves data between memory and a tile."""
    return isinstance(item, Write) or (isinstance(item, Compute) and isinstance(item.node.operation, LoadAt))


def _unit(item: Item) -> str | None:
    """The axis along which what an item moves lies side by side in memory."""
    match item:
        case Compute(node=Node(operation=LoadAt(unit=unit))):
            return unit
        case Write(store=store):
            return store.unit
        case _:
            return None
