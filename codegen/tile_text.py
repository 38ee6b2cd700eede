"""A tile program as text: what stands between the plan and the source of a target.

    state P_l: f32[i] = 0
    block
      start_i = mul(%program, BLOCK(i))          i32
    loop %n in 0 .. %count, masked
      S = dot(K_tile, Q_tile; over d)             f32[i, j]
      P_l = add(%12, %13)

A value has the user's name where there is one, else a number; its axes and dtype stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attn_dsl.codegen.program import Argument
from attn_dsl.codegen.tiles import Assign, Block, KernelBody, Loop, Node, State, Store, living_nodes

_COLUMN = 76


def tile_text(body: KernelBody) -> str:
    """The whole program, without what nothing depends on."""
    return "\n".join(_Text(body).lines()) + "\n"


class _Text:
    def __init__(self, body: KernelBody) -> None:
        self._body = body
        self._living = living_nodes(body)
        self._names: dict[int, str] = {}
        self._taken: set[str] = set()

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
        yield f"loop {self._name(loop.counter)} in 0 .. {self._name(loop.count)}, {loop.comment}"
        yield from self._block(loop.prepare, "  ")
        inside = "  "
        if loop.condition is not None:
            yield f"  when {self._name(loop.condition)}"
            inside = "    "
        yield from self._block(loop.body, inside)

    def _block(self, block: Block, indent: str) -> Iterator[str]:
        for item in block.items:
            match item:
                case Assign(state=state, value=value):
                    yield f"{indent}{state.name} = {self._name(value)}"
                case Store(tensor=tensor, offset=offset, value=value, mask=mask, adds=adds):
                    where = "" if mask is None else f" where {self._name(mask)}"
                    sign = "+=" if adds else "="
                    yield f"{indent}{tensor}[{self._name(offset)}] {sign} {self._name(value)}{where}"
                case Node() if id(item) in self._living and item.operation not in ("state", "const"):
                    if item.comment is not None:
                        yield from (f"{indent}# {line}" for line in item.comment.splitlines())
                    yield _typed(f"{indent}{self._name(item)} = {self._value(item)}", item)
                case _:
                    pass

    def _value(self, node: Node) -> str:
        operands = ", ".join(self._name(o) for o in node.operands)
        told = ", ".join(_attribute(a) for a in node.attributes)
        return f"{node.operation}({operands}{'; ' if operands and told else ''}{told})"

    def _name(self, node: Node) -> str:
        match node.operation:
            case "const":
                return str(node.attributes[0])
            case "state":
                return str(node.attributes[0])
            case _:
                pass
        if id(node) not in self._names:
            wanted = node.name or f"%{len(self._names)}"
            name = wanted if wanted not in self._taken else f"{wanted}.{len(self._names)}"
            self._taken.add(name)
            self._names[id(node)] = name
        return self._names[id(node)]


def _typed(text: str, value: Node | State) -> str:
    shape = f"[{', '.join(value.axes)}]" if value.axes else ""
    return f"{text:{_COLUMN}} {value.dtype}{shape}"


def _attribute(attribute: Any) -> str:
    match attribute:
        case Argument(name=name):
            return name
        case tuple():
            return " ".join(map(_attribute, attribute))
        case _:
            return str(attribute)
