"""C++ names: the user's where C++ allows them, each meaning one thing in its scope."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

from attn_dsl.codegen.cpu.nests import Arrangement
from attn_dsl.codegen.tiles import Node

if TYPE_CHECKING:
    from attn_dsl.codegen.cpu.printer import Lanes

# Words of the language, and what the headers define as macros.
_WORDS = """
    alignas alignof and asm attn auto bitand bitor bool break case catch char class compl concept const
    constexpr continue decltype default delete do double else enum explicit export extern false float for
    friend goto if inline int long mutable namespace new noexcept not nullptr operator or private protected
    public register requires return short signed sizeof static struct switch template this throw true try
    typedef typeid typename union unsigned using virtual void volatile while xor int8_t int16_t int32_t
    int64_t uint8_t uint16_t uint32_t uint64_t INFINITY NAN INT32_MIN INT32_MAX INT64_MIN INT64_MAX program
    std linux unix errno assert isnan isinf
"""
_RESERVED = frozenset(_WORDS.split())


class Names:
    """C++ names of nodes, states and arguments; each means one thing in its scope."""

    def __init__(
        self, lanes: Lanes, arrangement: Arrangement, arguments: Mapping[str, str], reserved: Iterable[str]
    ) -> None:
        self.lanes = lanes
        self.arrangement = arrangement
        self.arguments = arguments
        self._taken = {*map(self.identifier, reserved), *(f"lane_{a}" for a in lanes.text)}
        self._taken |= {text for text in lanes.text.values() if text.isidentifier()}
        self._names: dict[int, str] = {}

    def identifier(self, name: str) -> str:
        """A name of the user's as one that C++ allows."""
        return f"{name}_" if name in _RESERVED or name.startswith("lane_") or "__" in name else name

    def fresh(self, base: str, node: Node) -> str:
        """A new name for a node."""
        self._names[id(node)] = self.temporary(base)
        return self._names[id(node)]

    def temporary(self, base: str) -> str:
        """A new name for nothing but the next lines."""
        base = self.identifier(base if base.isidentifier() else "value")
        name, number = base, 1
        while name in self._taken:
            name, number = f"{base}_{number}", number + 1
        self._taken.add(name)
        return name

    def alias(self, node: Node, name: str) -> None:
        """A node whose lanes are those of another thing."""
        self._names[id(node)] = name

    def forget(self, node: Node) -> None:
        """The node's name means nothing from here on."""
        self._names.pop(id(node), None)

    def known(self, node: Node) -> bool:
        """Whether a node has a name here."""
        return id(node) in self._names

    def of(self, node: Node) -> str:
        """The name of a node, or of a state."""
        return self.identifier(node.attributes[0]) if node.operation == "state" else self._names[id(node)]

    def element(self, node: Node, lanes: Mapping[str, str] = MappingProxyType({})) -> str:
        """The current lane of a named node or state, or of some axes the given ones."""
        axes = self.arrangement.ordered(node.axes)
        return self.of(node) + "".join(f"[{lanes.get(a, f'lane_{a}')}]" for a in axes)

    def label(self, node: Node) -> str:
        """A name for a node that has none of the user's."""
        match node.operation:
            case "load":
                return node.attributes[0].removesuffix("_ptr") + "_tile"
            case "reduce":
                return {"add": "total", "mul": "product", "max": "greatest", "min": "least",
                        "or": "any", "and": "every"}[node.attributes[0]]  # fmt: skip
            case _:
                return "t"

    @contextmanager
    def scope(self) -> Generator[None]:
        """Names made inside are forgotten after."""
        taken = set(self._taken)
        yield
        self._taken = taken
