"""Tile nodes to Triton text.

A node used once, in its own block and without a name, is printed inside its user, if the line stays short;
others get a line. Tiles of different axes meet by indexing with None, in the kernel's order of axes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from attn_dsl.analysis.widths import RANGES, fits
from attn_dsl.codegen.brackets import Text, infix, negated, number
from attn_dsl.codegen.kernel_text import KernelText
from attn_dsl.codegen.naming import Tile, Value
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.spelling import COMBINATIONS, DTYPES, FUNCTIONS, spelt
from attn_dsl.codegen.tiles import (
    Apply,
    Argument,
    Assign,
    Block,
    Cast,
    Choose,
    Const,
    Counter,
    Current,
    Dot,
    Gather,
    KernelBody,
    Lanes,
    LoadAt,
    Loop,
    Node,
    Program,
    Reduce,
    State,
    StoreAt,
    TileSize,
    roots_of,
)
from attn_dsl.codegen.tiles.addresses import addressed
from attn_dsl.ir.reductions import identity

_DTYPES = {name: spelling.triton for name, spelling in DTYPES.items()}
_INFIX = infix(division="//", remainder="%")
_WRAPPING = {f"wrapping_{name}": name for name in ("add", "sub", "mul", "neg")}  # as the machine does
_CARRIED = re.compile(r"(?<![\w.])_\w+(?=[()])")
_LONGEST = 72  # columns of an expression inside another


@dataclass(slots=True)
class LoopText:
    """A printed loop, as the template lays it out."""

    comment: str
    counter: str
    count: str
    prepare: list[str]
    condition: str | None
    body: list[str]


@dataclass(slots=True)
class KernelPrinter:
    """Prints one kernel. ``precision``: of f32 products; ``widen_bf16``: products of bf16 as f32, since
    Triton's interpreter multiplies the bits of bf16; ``used``: the device functions that the module must
    carry."""

    kernel: KernelText
    precision: str
    widen_bf16: bool
    used: set[str] = field(default_factory=set[str])
    _lengths: dict[str, str] = field(default_factory=dict[str, str])
    _uses: dict[Node, int] = field(default_factory=dict[Node, int])
    _user_block: dict[Node, Block | None] = field(default_factory=dict["Node", "Block | None"])
    _texts: dict[Node, Text] = field(default_factory=dict[Node, Text])
    _taken: set[str] = field(default_factory=set[str])

    def run(self) -> list[list[str] | LoopText]:
        """Straight blocks as lines, loops as ``LoopText``, in order."""
        texts = self.kernel.namer.texts
        self._lengths = {a.name: " * ".join(texts[Tile(i)] for i, _ in a.parts) for a in self.kernel.axes}
        self._taken = self._symbols()
        body = addressed(self.kernel.body, tuple(self._lengths))
        self._count(body)
        result: list[list[str] | LoopText] = []
        for position, item in enumerate(body.items):
            if isinstance(item, Loop):
                result.append(self._loop(item))
                continue
            lines = self._block(item)
            if position == 0:
                lines += [line for s in body.states for line in self._state(s)]
            if lines:
                result.append(lines)
        return result

    def _symbols(self) -> set[str]:
        """The names that mean the same in the whole kernel; a tensor computed on the way has a local one."""
        carried = {s.name for s in self.kernel.body.states}
        given = {t for symbol, t in self.kernel.namer.texts.items() if not isinstance(symbol, Value)}
        return given | carried

    # what is alive, and how often it is used

    def _count(self, body: KernelBody) -> None:
        for loop in (i for i in body.items if isinstance(i, Loop)):
            self._use(loop.count, None)
            if loop.condition is not None:
                self._use(loop.condition, loop.prepare)
        for block in body.blocks:
            for root in roots_of(block):
                self._use(root, block)

    def _use(self, node: Node, block: Block | None) -> None:
        pending = [(node, block)]
        while pending:
            used, by = pending.pop()
            seen = used in self._uses
            self._uses[used] = self._uses.get(used, 0) + 1
            if not seen:
                self._user_block[used] = by
                pending += [(operand, used.block) for operand in used.operands]
            elif self._user_block[used] is not by:
                self._user_block[used] = None

    def _is_inline(self, node: Node) -> bool:
        """Whether a node may be printed where it is used."""
        match node.operation:
            case Const() | Argument() | Current() | Counter() | TileSize():
                return True
            case Cast() if node.dtype == "i64" and not isinstance(node.operands[0].operation, LoadAt):
                return True
            case LoadAt():
                return False
            case _:
                pass
        once = self._uses[node] == 1 and self._user_block[node] is node.block
        next_value = node.name is not None and node.name.endswith("_next") and node.comment is None
        return once and (node.name is None or next_value)

    # blocks

    def _loop(self, loop: Loop) -> LoopText:
        outer = set(self._taken)
        counter = self._fresh("n", loop.counter)
        prepare = self._block(loop.prepare)
        condition = None if loop.condition is None else self.text(loop.condition).text
        text = LoopText(
            loop.comment, counter, self.text(loop.count).text, prepare, condition, self._block(loop.body)
        )
        self._taken = outer
        return text

    def _block(self, block: Block) -> list[str]:
        lines: list[str] = []
        for item in block.items:
            if not isinstance(item, Node) or item not in self._uses or isinstance(item.operation, Counter):
                continue
            expression = self._expression(item)
            if self._is_inline(item) and (len(expression.text) <= _LONGEST or not item.operands):
                self._texts[item] = expression
                continue
            lines += [f"# {line}" for line in (item.comment or "").splitlines()]
            lines.append(f"{self._fresh(item.name or self._label(item), item)} = {expression}")
        for item in block.items:
            match item:
                case Assign(state=state, value=value):
                    lines.append(f"{state.name} = {self._fitted(value, state)}")
                case StoreAt():
                    lines.append(self._store(item))
                case _:
                    pass
        return lines

    def _label(self, node: Node) -> str:
        match node.operation:
            case LoadAt(pointer=pointer):
                return pointer.removesuffix("_ptr").lower() + "_tile"
            case Lanes():
                return "lanes"
            case _:
                return "t"

    def _fresh(self, base: str, node: Node) -> str:
        name = self.kernel.namer.free(base, self._taken)
        self._taken.add(name)
        self._texts[node] = Text(name)
        return name

    def _state(self, state: State) -> list[str]:
        comments = [f"# {line}" for line in (state.comment or "").splitlines()]
        furthest = is_float(state.dtype) and state.initial in ("-inf", "inf")
        initial = f'float("{state.initial}")' if furthest else state.initial
        if not is_float(state.dtype):
            initial = str(identity(state.initial, state.dtype))
        return [
            *comments,
            f"{state.name} = tl.full({self._shape(state.axes)}, {initial}, {_DTYPES[state.dtype]})",
        ]

    def _fitted(self, value: Node, state: State) -> str:
        text = self.text(value)
        if value.dtype != state.dtype:
            text = Text(f"{text.atom}.to({_DTYPES[state.dtype]})")
        if value.axes == state.axes:
            return text.text
        zero = Text(f"tl.zeros({self._shape(state.axes)}, {_DTYPES[state.dtype]})")
        operator = "or" if state.dtype == "bool" else "add"
        return _INFIX[operator].of(zero, self._indexed(text, value.axes, state.axes)).text

    def _store(self, store: StoreAt) -> str:
        axes = self._joint(*store.operands)
        offset, value = self._expanded(store.offset, axes), self._expanded(store.value, axes)
        mask = "" if store.mask is None else f", mask={self._expanded(store.mask, axes)}"
        if store.adds and store.offset.axes != axes:  # many lanes for one place
            offset = _INFIX["add"].of(offset, Text(f"tl.zeros({self._shape(axes)}, tl.int64)"))
        place = _INFIX["add"].of(Text(store.pointer), offset)
        if store.adds and is_float(store.value.dtype):
            self.used.add("_add_exactly")
            value = self._typed(store.value) if isinstance(store.value.operation, Const) else value
            inside = "True" if store.mask is None else self._expanded(store.mask, axes)
            return f"_add_exactly({place}, {value}, {inside})"
        if store.adds:
            const = isinstance(store.value.operation, Const)
            told = f"tl.full([], {value}, tl.int64)" if const else f"{value.atom}.to(tl.int64)"
            return f'tl.atomic_add({place}, {told}{mask}, sem="relaxed")'
        return f"tl.store({place}, {value}{mask})"

    def _joint(self, *nodes: Node) -> tuple[str, ...]:
        present = {a for n in nodes for a in n.axes}
        return tuple(a for a in self._lengths if a in present)

    def _shape(self, axes: tuple[str, ...]) -> str:
        return "[" + ", ".join(self._lengths[a] for a in axes) + "]"

    # expressions

    def text(self, node: Node) -> Text:
        """The node as an operand: its name, or its expression."""
        return self._texts[node] if node in self._texts else self._expression(node)

    def _expanded(self, node: Node, axes: tuple[str, ...]) -> Text:
        return self._indexed(self.text(node), node.axes, axes)

    def _indexed(self, text: Text, own: tuple[str, ...], axes: tuple[str, ...]) -> Text:
        """A value with these axes of its own among others."""
        if own == axes or not own:
            return text
        index = ", ".join(":" if a in own else "None" for a in axes)
        return Text(f"{text.atom}[{index}]")

    def _expression(self, node: Node) -> Text:
        match node.operation:
            case Const():
                return self._const(node)
            case Argument(name=name) | Current(state=name):
                return Text(name)
            case TileSize(index=index):
                return Text(self.kernel.namer.texts[Tile(index)])
            case Program():
                return Text("tl.program_id(0)")
            case Lanes():
                return Text(f"tl.arange(0, {self._lengths[node.axes[0]]})")
            case LoadAt(pointer=pointer):
                return self._load(node, pointer)
            case Cast():
                return self._cast(node)
            case Choose():
                return self._call("tl.where", [self._expanded(o, node.axes) for o in node.operands])
            case Reduce(by=by, axis=axis):
                return self._reduce(node, by, axis)
            case Gather(axis=axis):
                return self._gather(node, axis)
            case Dot(over=over):
                return self._dot(node, over)
            case Apply(name=name):
                return self._operation(node, _WRAPPING.get(name, name))
            case other:
                raise AssertionError(f"no GPU has {other}")

    def _cast(self, node: Node) -> Text:
        (operand,) = node.operands
        text = self._typed(operand)
        if not is_float(operand.dtype) or is_float(node.dtype):
            return Text(f"{text.atom}.to({_DTYPES[node.dtype]})")
        if node.dtype == "bool":
            return _INFIX["ne"].of(text, Text("0"))
        low, high = RANGES[node.dtype]
        return self._call(
            "_to_integer", [text, number(str(low)), number(str(high)), Text(_DTYPES[node.dtype])]
        )

    def _const(self, node: Node) -> Text:
        assert isinstance(node.operation, Const)
        value = node.operation.value
        if node.dtype == "i64" and not fits((int(value), int(value)), "i32"):
            return Text(f"tl.full([], {value}, tl.int64)")
        text = repr(value)
        return Text(f'float("{text}")') if text in ("inf", "-inf", "nan") else number(text)

    def _typed(self, node: Node) -> Text:
        """A node as a value that has a dtype."""
        if not isinstance(node.operation, Const):
            return self.text(node)
        text = self._const(node)
        return (
            text if text.text.startswith("tl.full") else Text(f"tl.full([], {text}, {_DTYPES[node.dtype]})")
        )

    def _load(self, node: Node, pointer: str) -> Text:
        offset, *mask = node.operands
        place = _INFIX["add"].of(Text(pointer), self._expanded(offset, node.axes))
        masked = f", mask={self._expanded(mask[0], node.axes)}, other=0" if mask else ""
        return Text(f"tl.load({place}{masked})")

    def _operation(self, node: Node, name: str) -> Text:
        operands = node.operands
        parts = [self._expanded(o, node.axes) for o in operands]
        if all(isinstance(o.operation, Const) for o in operands):
            parts = [self._typed(o) for o in operands]
        floating = is_float(node.dtype)
        if name in _INFIX:
            return _INFIX[name].of(*parts)
        typed = [
            self._typed(o) if isinstance(o.operation, Const) else p
            for o, p in zip(operands, parts, strict=True)
        ]
        match name:
            case "neg":
                return negated(parts[0])
            case "not":
                return _INFIX["eq"].of(parts[0], Text("0"))
            case "uceildiv":
                return self._call("tl.cdiv", parts)
            case "floordiv" | "mod" | "pow":
                return self._call(f"_{name}_of_{'reals' if floating else 'integers'}", typed)
            case "min" | "max":
                return self._extreme(name, parts, floating)
            case "clamp":
                return self._extreme("min", [self._extreme("max", parts[:2], floating), parts[2]], floating)
            case "relu":
                return self._extreme("max", [parts[0], Text("0.0" if floating else "0")], floating)
            case _:
                spelling = FUNCTIONS[name].triton
                text = spelt(spelling, [p.atom if "{" in spelling else p.text for p in typed])
                self.used.update(_CARRIED.findall(text))
                return Text(text)

    def _call(self, function: str, parts: list[Text]) -> Text:
        if function.startswith("_"):
            self.used.add(function)
        return Text(f"{function}({', '.join(map(str, parts))})")

    def _extreme(self, name: str, parts: list[Text], floating: bool) -> Text:
        nan = ", propagate_nan=tl.PropagateNan.ALL" if floating else ""
        text = parts[0]
        for part in parts[1:]:
            text = Text(f"tl.{name}imum({text}, {part}{nan})")
        return text

    def _reduce(self, node: Node, by: str, axis: str) -> Text:
        (operand,) = node.operands
        spelling = COMBINATIONS[by]
        whole = spelling.triton if is_float(node.dtype) else spelling.triton_whole or spelling.triton
        self.used.update(_CARRIED.findall(whole))
        return Text(whole.format(self.text(operand).atom, operand.axes.index(axis)))

    def _gather(self, node: Node, axis: str) -> Text:
        source, lane = node.operands
        (new,) = (a for a in node.axes if a not in source.axes)
        order = tuple(axis if a == new else a for a in node.axes)
        text = self._permuted(self.text(source), source.axes, order)
        return Text(f"tl.gather({text}, {self._expanded(lane, node.axes)}, {order.index(axis)})")

    def _dot(self, node: Node, over: tuple[str, ...]) -> Text:
        a, b, *accumulator = node.operands
        left_kept = tuple(x for x in a.axes if x not in over)
        right_kept = tuple(x for x in b.axes if x not in over)
        left = self._matrix(a, left_kept, over)
        right = self._matrix(b, over, right_kept)
        options = f', input_precision="{self.precision}"' if a.dtype == "f32" else ""
        flat = len(left_kept) == 1 and len(right_kept) == 1
        if accumulator and flat:
            return Text(f"tl.dot({left}, {right}, {self.text(accumulator[0])}{options})")
        text = Text(f"tl.dot({left}, {right}{options})")
        made = (*left_kept, *right_kept)
        text = text if flat else Text(f"tl.reshape({text}, {self._shape(made)})")
        text = self._permuted(text, made, node.axes)
        return _INFIX["add"].of(self.text(accumulator[0]), text) if accumulator else text

    def _permuted(self, text: Text, axes: tuple[str, ...], order: tuple[str, ...]) -> Text:
        """A tile over these axes, with its axes in another order."""
        if axes == order:
            return text
        return Text(f"tl.permute({text}, ({', '.join(str(axes.index(a)) for a in order)}))")

    def _matrix(self, node: Node, rows: tuple[str, ...], columns: tuple[str, ...]) -> Text:
        """The tile as a matrix of these rows and columns."""
        text = self.text(node)
        if self.widen_bf16 and node.dtype == "bf16":
            text = Text(f"{text.atom}.to(tl.float32)")
        transposed = node.axes == (*columns, *rows) and node.axes != (*rows, *columns)
        first, second = (columns, rows) if transposed else (rows, columns)
        text = self._permuted(text, node.axes, (*first, *second))
        if len(node.axes) > 2:
            shape = ", ".join(" * ".join(self._lengths[a] for a in part) for part in (first, second))
            text = Text(f"tl.reshape({text}, [{shape}])")
        return Text(f"tl.trans({text})") if transposed else text
