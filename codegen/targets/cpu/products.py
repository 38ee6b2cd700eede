"""A product of two tiles as calls of ``attn::multiply``: loops over all axes but three, rows, columns and the
contracted one, whose strides in the arrays are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from attn_dsl.codegen.targets.cpu.expressions import VALUES
from attn_dsl.codegen.tiles import Dot, Node

if TYPE_CHECKING:
    from attn_dsl.codegen.targets.cpu.names import Names
    from attn_dsl.codegen.targets.cpu.nests import Arrangement
    from attn_dsl.codegen.targets.cpu.printer import Lanes


@dataclass(frozen=True, slots=True)
class _Array:
    """A tile in an array: its name, its axes outermost first, the lanes of each, and the name of the current
    one."""

    name: str
    axes: tuple[str, ...]
    lanes: Mapping[str, int]
    current: Mapping[str, str]

    def stride(self, axis: str | None) -> int:
        """Elements between neighbours along an axis; 0 where the tile does not vary."""
        if axis is None or axis not in self.axes:
            return 0
        return prod(self.lanes[a] for a in self.axes[self.axes.index(axis) + 1 :])

    def start(self, looped: tuple[str, ...]) -> str:
        """The address of the first element at the current lanes of the looped axes."""
        indices = "".join(f"[{self.current[a]}]" if a in looped else "[0]" for a in self.axes)
        return f"&{self.name}{indices}"


def product_call(node: Node, names: Names, arrangement: Arrangement, lanes: Lanes) -> list[str]:
    """The lines that add a product to its array, or set the array to it."""
    a, b = (_array(o, names, arrangement, lanes) for o in node.operands[:2])
    out = _array(node, names, arrangement, lanes)
    assert isinstance(node.operation, Dot)
    reduced, operand, skips = node.operation.over, node.operation.operand, node.operation.skips
    before: list[str] = []
    if a.axes[-1] in reduced and b.axes[-1] not in reduced:
        a, b = b, a
    elif a.axes[-1] in reduced:
        a, before = _turned(a, VALUES[node.dtype], names, lanes)
    row = a.axes[-1]  # innermost: rows, or what stands for them, fill the vectors
    contracted = max((x for x in b.axes if x in reduced), key=lanes.count.__getitem__)
    kept = [x for x in b.axes if x not in reduced]
    column = max(kept, key=lanes.count.__getitem__, default=None)
    looped = tuple(
        x for x in dict.fromkeys((*out.axes, *a.axes, *b.axes)) if x not in (row, contracted, column)
    )
    adds = "true" if len(node.operands) > 2 or len(reduced) > 1 else "false"
    columns = 1 if column is None else lanes.count[column]
    shape = f"{lanes.count[row]}, {columns}, {adds}"
    of_bf16 = operand == "bf16" and node.dtype == "f32"
    whole = f"multiply_bf16<{shape}>" if of_bf16 else f"multiply<{shape}, {VALUES[node.dtype]}>"
    right = f"{b.start(looped)}, {b.stride(column)}, {b.stride(contracted)}"
    given = (
        f"{a.start(looped)}, {a.stride(contracted)}, {right}, {lanes.count[contracted]}, "
        f"{out.start(looped)}, {out.stride(column)}"
    )
    calls = [f"attn::{whole}({given});"]
    if skips:
        finite = f"attn::is_finite<{columns}>({right}, {lanes.count[contracted]})"
        counted = f"attn::multiply_counted<{shape}, {VALUES[node.dtype]}>({given});"
        calls = [f"if ({finite})", f"    {calls[0]}", "else", f"    {counted}"]
    loops = [(names.lane[x], lanes.text[x]) for x in looped]
    lines = [f"for (int32_t {lane} = 0; {lane} < {count}; ++{lane})" for lane, count in loops]
    return [*before, *lines, *(f"    {call}" if lines else call for call in calls)]


def _turned(array: _Array, kind: str, names: Names, lanes: Lanes) -> tuple[_Array, list[str]]:
    """An array of two axes with the other one innermost."""
    name, axes = names.temporary(f"{array.name}_turned"), array.axes[::-1]
    made = [f"alignas(64) {kind} {name}{lanes.shape(axes)};", f"attn::transpose({array.name}, {name});"]
    return _Array(name, axes, array.lanes, array.current), made


def _array(node: Node, names: Names, arrangement: Arrangement, lanes: Lanes) -> _Array:
    return _Array(names.of(node), arrangement.ordered(node.axes), lanes.count, names.lane)
