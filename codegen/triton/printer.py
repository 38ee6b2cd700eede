"""Tile nodes to Triton text.

A node used once, in its own block and without a name, is printed inside its user; others get a line. Tiles
of different axes meet by indexing with None, in the kernel's order of axes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from attn_dsl.analysis.widths import RANGES, fits
from attn_dsl.codegen.naming import Namer, Tile, Value
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.spelling import COMBINATIONS, DTYPES, FUNCTIONS, spelt
from attn_dsl.codegen.tiles import Assign, Block, KernelBody, Loop, Node, State, Store
from attn_dsl.ir.reductions import identity

_DTYPES = {name: spelling.triton for name, spelling in DTYPES.items()}
_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==",
    "ne": "!=", "and": "&", "or": "|", "shl": "<<", "shr": ">>", "bitand": "&", "bitor": "|", "bitxor": "^",
    "ufloordiv": "//", "umod": "%", "wrapping_add": "+", "wrapping_sub": "-", "wrapping_mul": "*",
}  # fmt: skip
_CARRIED = re.compile(r"(?<![\w.])_\w+(?=[()])")
_INLINE = frozenset({"const", "argument", "state", "counter", "block"})
_EVERYWHERE = frozenset({"load", "dot"})


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
    """Prints one kernel. ``extents``: the length of every axis, as text; ``precision``: of f32 products;
    ``widen_bf16``: products of bf16 as f32, since Triton's interpreter multiplies the bits of bf16."""

    body: KernelBody
    extents: dict[str, str]
    precision: str
    widen_bf16: bool
    namer: Namer
    used: set[str] = field(default_factory=set)
    _uses: dict[int, int] = field(default_factory=dict)
    _user_block: dict[int, Block | None] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def run(self) -> list[list[str] | LoopText]:
        """Straight blocks as lines, loops as ``LoopText``, in order."""
        self._taken = self._symbols()
        self._count()
        result: list[list[str] | LoopText] = []
        for position, item in enumerate(self.body.items):
            if isinstance(item, Loop):
                result.append(self._loop(item))
                continue
            lines = self._block(item)
            if position == 0:
                lines += [line for s in self.body.states for line in self._state(s)]
            if lines:
                result.append(lines)
        return result

    def _symbols(self) -> set[str]:
        """The names that mean the same in the whole kernel; a tensor computed on the way has a local one."""
        carried = {s.name for s in self.body.states}
        given = {t for symbol, t in self.namer.texts.items() if not isinstance(symbol, Value)}
        return given | carried

    # what is alive, and how often it is used

    def _count(self) -> None:
        for item in self.body.items:
            if isinstance(item, Loop):
                self._use(item.count, None)
                if item.condition is not None:
                    self._use(item.condition, item.prepare)
                self._roots(item.prepare)
                self._roots(item.body)
            else:
                self._roots(item)

    def _roots(self, block: Block) -> None:
        for item in block.items:
            match item:
                case Assign(value=value):
                    self._use(value, block)
                case Store(offset=offset, value=value, mask=mask):
                    for node in (offset, value, *(() if mask is None else (mask,))):
                        self._use(node, block)
                case _:
                    pass

    def _use(self, node: Node, block: Block | None) -> None:
        pending = [(node, block)]
        while pending:
            used, by = pending.pop()
            key = id(used)
            seen = key in self._uses
            self._uses[key] = self._uses.get(key, 0) + 1
            if not seen:
                self._user_block[key] = by
                pending += [(operand, used.block) for operand in used.operands]
            elif self._user_block[key] is not by:
                self._user_block[key] = None

    def _is_inline(self, node: Node) -> bool:
        widened = node.operation == "cast" and node.dtype == "i64" and node.operands[0].operation != "load"
        if node.operation in _INLINE or widened:
            return True
        once = self._uses[id(node)] == 1 and self._user_block[id(node)] is node.block
        next_value = node.name is not None and node.name.endswith("_next") and node.comment is None
        return once and (node.name is None or next_value) and node.operation != "load"

    # blocks

    def _loop(self, loop: Loop) -> LoopText:
        outer = set(self._taken)
        counter = self._fresh("n", loop.counter)
        prepare = self._block(loop.prepare)
        condition = None if loop.condition is None else self.text(loop.condition)
        text = LoopText(
            loop.comment, counter, self.text(loop.count), prepare, condition, self._block(loop.body)
        )
        self._taken = outer
        return text

    def _block(self, block: Block) -> list[str]:
        lines: list[str] = []
        for item in block.items:
            if not isinstance(item, Node) or id(item) not in self._uses or self._is_inline(item):
                continue
            if item.comment:
                lines += [f"# {line}" for line in item.comment.splitlines()]
            expression = self._expression(item)
            lines.append(f"{self._fresh(item.name or self._label(item), item)} = {expression}")
        for item in block.items:
            match item:
                case Assign(state=state, value=value):
                    lines.append(f"{state.name} = {self._fitted(value, state)}")
                case Store():
                    lines.append(self._store(item))
                case _:
                    pass
        return lines

    def _label(self, node: Node) -> str:
        if node.operation == "load":
            return node.attributes[0].removesuffix("_ptr").lower() + "_tile"
        return "lanes" if node.operation == "arange" else "t"

    def _fresh(self, base: str, node: Node) -> str:
        name = self.namer.free(base, self._taken)
        self._taken.add(name)
        self._names[id(node)] = name
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
            text = f"({text}).to({_DTYPES[state.dtype]})"
        if value.axes == state.axes:
            return text
        zero = f"tl.zeros({self._shape(state.axes)}, {_DTYPES[state.dtype]})"
        operator = "|" if state.dtype == "bool" else "+"
        return f"{zero} {operator} {self._expanded(value, state.axes)}"

    def _store(self, store: Store) -> str:
        axes = self._joint(store.offset, store.value, *(() if store.mask is None else (store.mask,)))
        offset, value = self._expanded(store.offset, axes), self._expanded(store.value, axes)
        mask = "" if store.mask is None else f", mask={self._expanded(store.mask, axes)}"
        if store.adds and store.offset.axes != axes:  # many lanes for one place
            offset = f"{offset} + tl.zeros({self._shape(axes)}, tl.int64)"
        if store.adds and is_float(store.value.dtype):
            self.used.add("_add_exactly")
            value = self._bracketed(store.value) if store.value.operation == "const" else value
            inside = "True" if store.mask is None else self._expanded(store.mask, axes)
            return f"_add_exactly({store.tensor} + {offset}, {value}, {inside})"
        if store.adds:
            const = store.value.operation == "const"
            value = f"tl.full([], {value}, tl.int64)" if const else f"{value}.to(tl.int64)"
            return f'tl.atomic_add({store.tensor} + {offset}, {value}{mask}, sem="relaxed")'
        return f"tl.store({store.tensor} + {offset}, {value}{mask})"

    def _joint(self, *nodes: Node) -> tuple[str, ...]:
        present = {a for n in nodes for a in n.axes}
        return tuple(a for a in self.extents if a in present)

    def _shape(self, axes: tuple[str, ...]) -> str:
        return "[" + ", ".join(self.extents[a] for a in axes) + "]"

    # expressions

    def text(self, node: Node) -> str:
        """The node as an operand: its name, or its expression in brackets where that needs them."""
        if id(node) in self._names:
            return self._names[id(node)]
        return self._expression(node)

    def _expanded(self, node: Node, axes: tuple[str, ...]) -> str:
        text = self.text(node)
        if node.axes == axes or not node.axes:
            return text
        index = ", ".join(":" if a in node.axes else "None" for a in axes)
        return f"{text}[{index}]"

    def _expression(self, node: Node) -> str:
        match node.operation:
            case "const":
                return self._const(node)
            case "argument" | "state":
                return node.attributes[0]
            case "block":
                return self.namer.texts[Tile(node.attributes[0])]
            case "program":
                return "tl.program_id(0)"
            case "arange":
                return f"tl.arange(0, {self.extents[node.axes[0]]})"
            case "load":
                return self._load(node)
            case "cast":
                return self._cast(node)
            case "where":
                return f"tl.where({', '.join(self._expanded(o, node.axes) for o in node.operands)})"
            case "reduce":
                return self._reduce(node)
            case "gather":
                return self._gather(node)
            case "dot":
                return self._dot(node)
            case _:
                return self._operation(node)

    def _cast(self, node: Node) -> str:
        (operand,) = node.operands
        text = self._bracketed(operand)
        if not is_float(operand.dtype) or is_float(node.dtype):
            return f"{text}.to({_DTYPES[node.dtype]})"
        if node.dtype == "bool":
            return f"({text} != 0)"
        low, high = RANGES[node.dtype]
        return self._call("_to_integer", [text, str(low), str(high), _DTYPES[node.dtype]])

    def _const(self, node: Node) -> str:
        text: str = node.attributes[0]
        if node.dtype == "i64" and not fits((int(text), int(text)), "i32"):
            return f"tl.full([], {text}, tl.int64)"
        named = {"inf": 'float("inf")', "-inf": 'float("-inf")', "nan": 'float("nan")'}
        return named.get(text, text)

    def _bracketed(self, node: Node) -> str:
        if node.operation == "const":
            text = self._const(node)
            return text if text.startswith("tl.full") else f"tl.full([], {text}, {_DTYPES[node.dtype]})"
        return self.text(node)

    def _load(self, node: Node) -> str:
        offset, *mask = node.operands
        pointer = f"{node.attributes[0]} + {self._expanded(offset, node.axes)}"
        if not mask:
            return f"tl.load({pointer})"
        return f"tl.load({pointer}, mask={self._expanded(mask[0], node.axes)}, other=0)"

    def _operation(self, node: Node) -> str:
        name, operands = node.operation, node.operands
        parts = [self._expanded(o, node.axes) for o in operands]
        if all(o.operation == "const" for o in operands):
            parts = [self._bracketed(o) for o in operands]
        floating = is_float(node.dtype)
        if name in _INFIX:
            return f"({parts[0]} {_INFIX[name]} {parts[1]})"
        match name:
            case "neg" | "wrapping_neg":
                return f"(-{parts[0]})"
            case "not":
                return f"({parts[0]} == 0)"
            case "floordiv" | "mod" | "pow":
                typed = [
                    self._bracketed(o) if o.operation == "const" else p
                    for o, p in zip(operands, parts, strict=True)
                ]
                return self._call(f"_{name}_of_{'reals' if floating else 'integers'}", typed)
            case "min" | "max":
                return self._extreme(name, parts, floating)
            case "clamp":
                return self._extreme("min", [self._extreme("max", parts[:2], floating), parts[2]], floating)
            case "relu":
                return self._extreme("max", [parts[0], "0.0" if floating else "0"], floating)
            case _:
                bracketed = [
                    self._bracketed(o) if o.operation == "const" else p
                    for o, p in zip(operands, parts, strict=True)
                ]
                text = spelt(FUNCTIONS[name].triton, bracketed)
                self.used.update(_CARRIED.findall(text))
                return text

    def _call(self, function: str, parts: list[str]) -> str:
        if function.startswith("_"):
            self.used.add(function)
        return f"{function}({', '.join(parts)})"

    def _extreme(self, name: str, parts: list[str], floating: bool) -> str:
        nan = ", propagate_nan=tl.PropagateNan.ALL" if floating else ""
        text = parts[0]
        for part in parts[1:]:
            text = f"tl.{name}imum({text}, {part}{nan})"
        return text

    def _reduce(self, node: Node) -> str:
        (operand,) = node.operands
        operator, axis = node.attributes
        text = self.text(operand)
        spelling = COMBINATIONS[operator]
        whole = spelling.triton if is_float(node.dtype) else spelling.triton_whole or spelling.triton
        self.used.update(_CARRIED.findall(whole))
        return whole.format(text, axis)

    def _gather(self, node: Node) -> str:
        source, lane = node.operands
        (axis,) = node.attributes
        (new,) = (a for a in node.axes if a not in source.axes)
        order = tuple(axis if a == new else a for a in node.axes)
        text = self._permuted(self.text(source), source.axes, order)
        return f"tl.gather({text}, {self._expanded(lane, node.axes)}, {order.index(axis)})"

    def _dot(self, node: Node) -> str:
        a, b, *accumulator = node.operands
        reduced = node.attributes[0]
        left_kept = tuple(x for x in a.axes if x not in reduced)
        right_kept = tuple(x for x in b.axes if x not in reduced)
        left = self._matrix(a, left_kept, reduced)
        right = self._matrix(b, reduced, right_kept)
        options = f', input_precision="{self.precision}"' if a.dtype == "f32" else ""
        flat = len(left_kept) == 1 and len(right_kept) == 1
        if accumulator and flat:
            return f"tl.dot({left}, {right}, {self.text(accumulator[0])}{options})"
        text = f"tl.dot({left}, {right}{options})"
        made = (*left_kept, *right_kept)
        text = text if flat else f"tl.reshape({text}, {self._shape(made)})"
        text = self._permuted(text, made, node.axes)
        return f"({self.text(accumulator[0])} + {text})" if accumulator else text

    def _permuted(self, text: str, axes: tuple[str, ...], order: tuple[str, ...]) -> str:
        """A tile over these axes, with its axes in another order."""
        if axes == order:
            return text
        return f"tl.permute({text}, ({', '.join(str(axes.index(a)) for a in order)}))"

    def _matrix(self, node: Node, rows: tuple[str, ...], columns: tuple[str, ...]) -> str:
        """The tile as a matrix of these rows and columns."""
        text = self.text(node)
        if self.widen_bf16 and node.dtype == "bf16":
            text = f"{text}.to(tl.float32)"
        transposed = node.axes == (*columns, *rows) and node.axes != (*rows, *columns)
        first, second = (columns, rows) if transposed else (rows, columns)
        text = self._permuted(text, node.axes, (*first, *second))
        if len(node.axes) > 2:
            shape = ", ".join(" * ".join(self.extents[a] for a in part) for part in (first, second))
            text = f"tl.reshape({text}, [{shape}])"
        return f"tl.trans({text})" if transposed else text
