"""The tile program of a kernel as C++ text, statement by statement.

Every axis of a tile is a loop over ``lane_<axis>``; a nest's values live in locals at the depth of the loops
they vary with, and lanes that outlive their nest in arrays, rows innermost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from attn_dsl.codegen.naming import Namer
from attn_dsl.codegen.program import Argument
from attn_dsl.codegen.targets.cpu.expressions import LANES, VALUES, identity, literal
from attn_dsl.codegen.targets.cpu.items import Begin, Items, Product
from attn_dsl.codegen.targets.cpu.names import Names
from attn_dsl.codegen.targets.cpu.nest_printer import NestPrinter
from attn_dsl.codegen.targets.cpu.nests import Arrangement, Nest
from attn_dsl.codegen.targets.cpu.products import product_call
from attn_dsl.codegen.tiles import Block, KernelBody, Loop, Node, Reduce, State
from attn_dsl.codegen.tiles.addresses import addressed


@dataclass(frozen=True, slots=True)
class Lanes:
    """The axes of a kernel's tiles in canonical order, rows first: the text and the number of their lanes."""

    text: Mapping[str, str]
    count: Mapping[str, int]

    def shape(self, axes: tuple[str, ...]) -> str:
        """``[BLOCK_J][BLOCK_I]``."""
        return "".join(f"[{self.text[a]}]" for a in axes)


class KernelPrinter:
    """Prints one kernel's body: the work of one program of the grid."""

    def __init__(self, body: KernelBody, lanes: Lanes, arguments: tuple[Argument, ...], namer: Namer) -> None:
        self.body = body = addressed(body, tuple(lanes.text))
        self.lanes = lanes
        self.arrangement = Arrangement(Items(body), tuple(lanes.text))
        dtypes = {a.name: a.dtype for a in arguments}
        self.names = Names(lanes, self.arrangement, dtypes, [s.name for s in body.states], namer)
        self.nests = NestPrinter(body, self.arrangement, self.names)

    def lines(self) -> list[str]:
        """The whole body."""
        result: list[str] = []
        for position, item in enumerate(self.body.items):
            result += self._loop(item) if isinstance(item, Loop) else self._block(item)
            if position == 0:
                result += [line for state in self.body.states for line in self._state(state)]
        return result

    def _state(self, state: State) -> list[str]:
        axes = self.arrangement.ordered(state.axes)
        lines = [f"// {line}" for line in (state.comment or "").splitlines()]
        initial = literal(state.initial, state.dtype)
        name = state.name
        if not axes:
            return [*lines, f"{VALUES[state.dtype]} {name} = {initial};"]
        lines.append(f"alignas(64) {LANES[state.dtype]} {name}{self.lanes.shape(axes)};")
        return [*lines, f"attn::fill({name}, {LANES[state.dtype]}({initial}));"]

    def _loop(self, loop: Loop) -> list[str]:
        with self.names.scope():
            counter = self.names.fresh("n", loop.counter)
            head = f"for (int32_t {counter} = 0; {counter} < {self.nests.scalar(loop.count)}; ++{counter}) {{"
            inner = self._block(loop.prepare)
            if loop.condition is not None:
                condition = self.nests.scalar(loop.condition)
                inner += [f"if ({condition}) {{", *_indented(self._block(loop.body)), "}"]
            else:
                inner += self._block(loop.body)
            return [f"// {loop.comment}", head, *_indented(inner), "}"]

    def _block(self, block: Block) -> list[str]:
        lines: list[str] = []
        for nest in self.arrangement.nests[block]:
            lines += self._product(nest) if nest.is_product else self._declared(nest) + self.nests.lines(nest)
        return lines

    def _declared(self, nest: Nest) -> list[str]:
        """Arrays for what the nest leaves behind, and the starts of its reductions."""
        lines: list[str] = []
        for item in nest.items:
            node = self.nests.result(item)
            if node is None or (node not in self.arrangement.stored and not isinstance(item, Begin)):
                continue
            if not node.axes and not isinstance(node.operation, Reduce):
                continue  # a scalar, declared where it is computed
            if node in self.arrangement.in_state:
                self.names.alias(node, self.arrangement.in_state[node].name)
                continue
            lines += [f"// {line}" for line in (node.comment or "").splitlines()]
            lines += self._array(node)
        return lines

    def _array(self, node: Node) -> list[str]:
        name = self.names.fresh(node.name or self.names.label(node), node)
        axes = self.arrangement.ordered(node.axes)
        start = identity(node.operation.by, node.dtype) if isinstance(node.operation, Reduce) else None
        if not axes:
            return [f"{VALUES[node.dtype]} {name} = {start};"]
        declared = f"alignas(64) {LANES[node.dtype]} {name}{self.lanes.shape(axes)};"
        return [declared] + ([] if start is None else [f"attn::fill({name}, {LANES[node.dtype]}({start}));"])

    def _product(self, nest: Nest) -> list[str]:
        (item,) = nest.items
        assert isinstance(item, Product)
        lines: list[str] = []
        if not self.names.known(item.node):
            lines += [f"// {line}" for line in (item.node.comment or "").splitlines()]
            lines += self._array(item.node)
        return lines + product_call(item.node, self.names, self.arrangement, self.lanes)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]
