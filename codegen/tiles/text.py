"""A tile program as text: what stands between the plan and the source of a target.

    state P_l = 0                                                   f32[i]
    block
      start_i = %5 * TILE(i)                                        i32
      t = load Q[b, h, i, d] where inside_i                         f32[i, d]
    loop n in 0 .. full_end_j - full_first_j, every element counts
      S = dot(Q_tile, K_tile; over d, in f32)                       f32[i, j]
      P_l = %12 + %13

A value has the user's name where there is one, else a number; its axes and dtype stand beside it. Constants,
arguments and what is used once are written where they are used.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterator

from attn_dsl.codegen.brackets import Text, infix, negated, number
from attn_dsl.codegen.tiles.operations import (
    Access,
    Apply,
    Argument,
    Cast,
    Choose,
    Const,
    Counted,
    Counter,
    Current,
    Dot,
    Gather,
    Lanes,
    Load,
    LoadAt,
    Part,
    Program,
    Reduce,
    TileSize,
)
from attn_dsl.codegen.tiles.program import (
    Assign,
    Block,
    KernelBody,
    Loop,
    Node,
    State,
    Store,
    StoreAt,
    living_nodes,
    roots_of,
)

_COLUMN, _LONGEST = 88, 48
_INFIX = infix(division="//", remainder="%")


def tile_text(body: KernelBody) -> str:
    """The whole program, without what nothing depends on."""
    return "\n".join(_Text(body).lines()) + "\n"


class _Text:
    def __init__(self, body: KernelBody) -> None:
        self._body = body
        self._living = living_nodes(body)
        self._uses = Counts(operand for node in self._living for operand in node.operands)
        self._uses.update(root for block in body.blocks for root in roots_of(block))
        self._texts: dict[Node, Text] = {}
        self._taken: set[str] = {s.name for s in body.states}
        self._numbers = 0

    def lines(self) -> Iterator[str]:
        """States, then blocks and loops in order."""
        for state in self._body.states:
            yield _typed(f"state {state.name} = {state.initial}", state)
        for item in self._body.items:
            if isinstance(item, Loop):
                yield from self._loop(item)
            elif block := list(self._block(item, "  ")):
                yield "block"
                yield from block

    def _loop(self, loop: Loop) -> Iterator[str]:
        self._fresh("n", loop.counter)
        yield f"loop {self._of(loop.counter)} in 0 .. {self._of(loop.count)}, {loop.comment}"
        yield from self._block(loop.prepare, "  ")
        inside = "  "
        if loop.condition is not None:
            yield f"  when {self._of(loop.condition)}"
            inside = "    "
        yield from self._block(loop.body, inside)

    def _block(self, block: Block, indent: str) -> Iterator[str]:
        for item in block.items:
            match item:
                case Assign(state=state, value=value):
                    yield f"{indent}{state.name} = {self._of(value)}"
                case Store(access=access, places=places):
                    element = f"{access.tensor}[{', '.join(str(self._of(p)) for p in places)}]"
                    yield indent + self._stored(item, element)
                case StoreAt(pointer=pointer, offset=offset):
                    yield indent + self._stored(item, f"{pointer}[{self._of(offset)}]")
                case Node() if item in self._living and item not in self._texts:
                    yield from self._node(item, indent)
                case _:
                    pass

    def _stored(self, store: Store | StoreAt, element: str) -> str:
        where = "" if store.mask is None else f" where {self._of(store.mask)}"
        return f"{element} {'+=' if store.adds else '='} {self._of(store.value)}{where}"

    def _node(self, node: Node, indent: str) -> Iterator[str]:
        text = self._expression(node)
        free = isinstance(node.operation, Const | Argument | Current | TileSize | Cast)
        once = (
            node.name is None
            and self._uses[node] == 1
            and not isinstance(node.operation, Load | Dot | Reduce)
        )
        if free or (once and len(text.text) <= _LONGEST):
            self._texts[node] = text
            return
        yield from (f"{indent}# {line}" for line in (node.comment or "").splitlines())
        yield _typed(f"{indent}{self._fresh(node.name or '', node)} = {text}", node)

    def _fresh(self, wanted: str, node: Node) -> str:
        name = wanted
        while not name or name in self._taken:
            self._numbers += 1
            name = f"{wanted}.{self._numbers}" if wanted else f"%{self._numbers}"
        self._taken.add(name)
        self._texts[node] = Text(name)
        return name

    def _of(self, node: Node) -> Text:
        return self._texts[node] if node in self._texts else self._expression(node)

    def _expression(self, node: Node) -> Text:
        parts = [self._of(o) for o in node.operands]
        match node.operation:
            case Const() | Argument() | Current() | Program() | Part() | Counter() | Lanes() | TileSize():
                return _leaf(node)
            case Load(access=access):
                return Text(_loaded(access, parts))
            case LoadAt(pointer=pointer):
                return Text(f"load {pointer}[{parts[0]}]{_where(parts[1:])}", 0)
            case Cast():
                return Text(f"{node.dtype}({parts[0]})")
            case Dot(over=over, operand=operand, skips=skips):
                told = f"over {' '.join(over)}, in {operand}{', what counts' if skips else ''}"
                return Text(f"dot({', '.join(map(str, parts))}; {told})")
            case Reduce(by=by, axis=axis):
                return Text(f"reduce({parts[0]}; {by} over {axis})")
            case Gather(axis=axis):
                return Text(f"gather({parts[0]}, {parts[1]}; along {axis})")
            case Choose():
                return _applied("where", parts)
            case Counted():
                return _applied("counted", parts)
            case Apply(name=name):
                return _applied(name, parts)


def _leaf(node: Node) -> Text:
    match node.operation:
        case Const(value=value):
            return number(repr(value))
        case Argument(name=name) | Current(state=name):
            return Text(name)
        case TileSize(index=index):
            return Text(f"TILE({index})")
        case Lanes():
            return Text(f"lanes({', '.join(node.axes)})")
        case other:
            return Text(f"{type(other).__name__.lower()}()")


def _applied(name: str, parts: list[Text]) -> Text:
    if name in _INFIX:
        return _INFIX[name].of(*parts)
    return negated(parts[0]) if name == "neg" else Text(f"{name}({', '.join(map(str, parts))})")


def _loaded(access: Access, parts: list[Text]) -> str:
    count = len(access.strides)
    return f"load {access.tensor}[{', '.join(map(str, parts[:count]))}]{_where(parts[count:])}"


def _where(mask: list[Text]) -> str:
    return f" where {mask[0]}" if mask else ""


def _typed(text: str, value: Node | State) -> str:
    shape = f"[{', '.join(value.axes)}]" if value.axes else ""
    return f"{text:{_COLUMN}} {value.dtype}{shape}"


__all__ = ["tile_text"]
