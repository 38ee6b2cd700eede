"""C++ names: the user's where C++ allows them, each meaning one thing in its scope."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

from attn_dsl.codegen.naming import Lane, Namer, Value, plain
from attn_dsl.codegen.targets.cpu.nests import Arrangement
from attn_dsl.codegen.tiles import Current, LoadAt, Node, Reduce

if TYPE_CHECKING:
    from attn_dsl.codegen.targets.cpu.printer import Lanes


class Names:
    """C++ names of nodes, states and arguments; each means one thing in its scope."""

    def __init__(
        self, lanes: Lanes, arrangement: Arrangement, arguments: Mapping[str, str], carried: Iterable[str],
        namer: Namer,
    ) -> None:  # fmt: skip
        self.lanes = lanes
        self.arrangement = arrangement
        self.arguments = arguments
        self.namer = namer
        self.lane = {axis: namer.claim(Lane(axis), f"lane_{plain(axis)}") for axis in lanes.text}
        # A tensor computed on the way has a local name, which is forgotten after.
        symbols = {t for symbol, t in namer.texts.items() if not isinstance(symbol, Value)}
        self._taken = {*symbols, *carried}
        self._names: dict[Node, str] = {}

    def fresh(self, base: str, node: Node) -> str:
        """A new name for a node."""
        self._names[node] = self.temporary(base)
        return self._names[node]

    def temporary(self, base: str) -> str:
        """A new name for nothing but the next lines."""
        name = self.namer.free(base, self._taken)
        self._taken.add(name)
        return name

    def alias(self, node: Node, name: str) -> None:
        """A node whose lanes are those of another thing."""
        self._names[node] = name

    def forget(self, node: Node) -> None:
        """The node's name means nothing from here on."""
        self._names.pop(node, None)

    def known(self, node: Node) -> bool:
        """Whether a node has a name here."""
        return node in self._names

    def of(self, node: Node) -> str:
        """The name of a node, or of a state."""
        return node.operation.state if isinstance(node.operation, Current) else self._names[node]

    def element(self, node: Node, lanes: Mapping[str, str] = MappingProxyType({})) -> str:
        """The current lane of a named node or state, or of some axes the given ones."""
        axes = self.arrangement.ordered(node.axes)
        return self.of(node) + "".join(f"[{lanes.get(a, self.lane[a])}]" for a in axes)

    def label(self, node: Node) -> str:
        """A name for a node that has none of the user's."""
        match node.operation:
            case LoadAt(pointer=pointer):
                return pointer.removesuffix("_ptr") + "_tile"
            case Reduce(by=by):
                return {"add": "total", "mul": "product", "max": "greatest", "min": "least",
                        "or": "any", "and": "every"}[by]  # fmt: skip
            case _:
                return "t"

    @contextmanager
    def scope(self) -> Generator[None]:
        """Names made inside are forgotten after."""
        taken = set(self._taken)
        yield
        self._taken = taken
