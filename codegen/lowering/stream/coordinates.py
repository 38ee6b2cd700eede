"""The coordinates of rows, programs and streams: which elements a tile holds."""

from __future__ import annotations

from math import prod

from attn_dsl.codegen.lowering.context import Scope
from attn_dsl.codegen.lowering.stream.assembly import Builder
from attn_dsl.codegen.naming import joint_axis
from attn_dsl.codegen.program import PARTS
from attn_dsl.codegen.tiles import Lanes, Node, Part, Program, TileSize, named


class Coordinates(Builder):
    """Gives indices their values."""

    def rows(self) -> None:
        """Rows and programs from the program's number; whole indices have all their lanes."""
        plan, tiles = self.context.plan, self.context.tiles
        rest = self.builder.node(Program(), dtype="i32")
        lanes = self.builder.node(Lanes(), dtype="i32", axes=(self.context.row_axis,))
        below, lanes_of_all = 1, prod(tile for _, tile in tiles.rows)
        for position, (index, tile) in enumerate(reversed(tiles.rows)):
            count = self._tiles_of(index, tile)
            outermost = position == len(tiles.rows) - 1 and not plan.programs
            at = rest if outermost else self.expressions.divide("mod", rest, count)
            rest = rest if outermost else self.expressions.divide("floordiv", rest, count)
            outer = below * tile == lanes_of_all
            self._tiled(self.kernel.scope, index, at, tile, lanes, below, outermost=outer)
            below *= tile
        self.kernel.scope.coordinates[PARTS] = self.builder.node(Part(), dtype="i32")
        for position, index in enumerate(reversed(plan.programs)):
            outermost = position == len(plan.programs) - 1
            value = rest if outermost else self.expressions.divide("mod", rest, self.expressions.size(index))
            rest = (
                rest if outermost else self.expressions.divide("floordiv", rest, self.expressions.size(index))
            )
            self._coordinate(self.kernel.scope, index, value)
            self.kernel.scope.endpoints |= {f"lo:{index}": value, f"hi:{index}": value}
        for index in tiles.whole:
            lane = self.builder.node(Lanes(), dtype="i32", axes=(index,))
            self._coordinate(self.kernel.scope, index, lane)
            last = self.expressions.operate("sub", self.expressions.size(index), self.builder.const(1))
            self.kernel.scope.endpoints |= {f"lo:{index}": self.builder.const(0), f"hi:{index}": last}

    def stream(self, scope: Scope, starts: list[Node]) -> None:
        """The lanes of a tile of each stream index, from the tile's number."""
        tiles = self.context.tiles.streams
        axis = joint_axis(scope.stream)
        lanes = self.builder.node(Lanes(), dtype="i32", axes=(axis,))
        below, lanes_of_all = 1, prod(tiles[index] for index in scope.stream)
        for index, at in reversed(list(zip(scope.stream, starts, strict=True))):
            outer = below * tiles[index] == lanes_of_all
            self._tiled(scope, index, at, tiles[index], lanes, below, outermost=outer)
            below *= tiles[index]

    def _tiled(
        self, scope: Scope, index: str, at: Node, tile: int, lanes: Node, below: int, *, outermost: bool
    ) -> None:
        """An index that shares the lanes of a tile: ``below`` lanes to a step of it. One of a single lane is
        the same for all of them, and what varies with it alone has no axis."""
        if tile == 1:
            self._coordinate(scope, index, at)
            scope.endpoints |= {f"lo:{index}": at, f"hi:{index}": at}
            return
        lane = lanes if below == 1 else self.expressions.divide("floordiv", lanes, self.builder.const(below))
        if not outermost:
            lane = self.expressions.divide("mod", lane, self.builder.const(tile))
        start = self.expressions.operate("mul", at, self.builder.node(TileSize(index), dtype="i32"))
        start.name = start.name or f"start_{index}"
        self._endpoints(scope, index, start, tile)
        self._coordinate(scope, index, self.expressions.operate("add", start, lane))

    def _coordinate(self, scope: Scope, index: str, node: Node) -> None:
        named(node, index)
        scope.coordinates[index] = node

    def _tiles_of(self, index: str, tile: int) -> Node:
        return named(
            self.expressions.tiles(self.expressions.size(index), index, tile, up=True), f"tiles_{index}"
        )

    def _endpoints(self, scope: Scope, index: str, start: Node, tile: int) -> None:
        last = self.expressions.operate("sub", self.expressions.size(index), self.builder.const(1))
        end = self.expressions.operate("add", start, self.builder.const(tile - 1))
        scope.endpoints |= {f"lo:{index}": start, f"hi:{index}": self.expressions.operate("min", end, last)}

    def unravelled(self, counter: Node, counts: list[Node]) -> list[Node]:
        """The position along each of several lengths of one counter over all of them, the last fastest."""
        rest, at = counter, list[Node]()
        for count in reversed(counts):
            at.insert(0, self.expressions.divide("mod", rest, count))
            rest = self.expressions.divide("floordiv", rest, count)
        return at

    def product(self, counts: list[Node]) -> Node:
        """How many tiles several lengths make."""
        total = counts[0]
        for count in counts[1:]:
            total = self.expressions.operate("mul", total, count)
        return total
