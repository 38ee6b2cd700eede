"""A cascade as a diagram: tensors in layers, each below all it reads (Sugiyama et al., 1981).

An edge over several layers passes through a point in each of them, so that it runs between the boxes and not
through them. Points and boxes of a layer are ordered by the mean place of their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from attn_dsl.ir.cascade import Cascade, Einsum, Statement
from attn_dsl.ir.printer import print_expr, print_statement
from attn_dsl.ir.walk import tensors_read
from attn_dsl.planning.dependence import expressions

_HEIGHT, _GAP, _LAYER, _MARGIN = 40, 18, 74, 6
_SWEEPS = 12
_LONGEST = 26  # characters of a caption


@dataclass(frozen=True, slots=True)
class Box:
    """A tensor. ``kind``: ``input``, ``pointwise``, ``reduction`` or ``output``; ``caption``: how it comes
    about, in short; ``statement``: in full. ``x``, ``y``: of its middle and its top."""

    name: str
    caption: str
    kind: str
    statement: str
    x: float
    y: float
    width: float
    height: float = _HEIGHT


@dataclass(frozen=True, slots=True)
class Diagram:
    """Boxes, and the paths of edges as SVG writes them."""

    boxes: tuple[Box, ...]
    paths: tuple[str, ...]
    width: float
    height: float


@dataclass(eq=False, slots=True)
class _Node:
    """A tensor, or (without a name) a point of an edge."""

    name: str
    layer: int
    width: float
    above: list[_Node] = field(default_factory=list["_Node"])
    below: list[_Node] = field(default_factory=list["_Node"])
    x: float = 0.0


def diagram(cascade: Cascade) -> Diagram:
    """The statements of a cascade laid out; inputs stand just above their first reader."""
    reads = _reads(cascade)
    layers = _layers(cascade, reads)
    nodes = {name: _Node(name, layer, _width(cascade, name)) for name, layer in layers.items()}
    rows = _rows(nodes, reads)
    _order(rows)
    width = _place(rows)
    boxes = tuple(_box(cascade, node) for node in nodes.values())
    paths = tuple(_paths(nodes, reads))
    return Diagram(boxes, paths, width, (len(rows) - 1) * _LAYER + _HEIGHT + 2 * _MARGIN)


def _reads(cascade: Cascade) -> dict[str, tuple[str, ...]]:
    """What each computed tensor reads, without inputs that nothing reads."""
    reads: dict[str, dict[str, None]] = {}
    for statement in cascade.statements:
        found = reads.setdefault(statement.target, {})
        for expr in expressions(statement):
            found.update(dict.fromkeys(t for t in tensors_read(expr) if t != statement.target))
    return {target: tuple(found) for target, found in reads.items()}


def _layers(cascade: Cascade, reads: dict[str, tuple[str, ...]]) -> dict[str, int]:
    layers: dict[str, int] = {}
    for target, read in reads.items():
        layers[target] = 1 + max((layers.get(t, 0) for t in read), default=0)
    inputs = {i.name: [layers[t] for t, read in reads.items() if i.name in read] for i in cascade.inputs}
    layers |= {name: min(readers) - 1 for name, readers in inputs.items() if readers}
    return layers


def _rows(nodes: dict[str, _Node], reads: dict[str, tuple[str, ...]]) -> list[list[_Node]]:
    rows: list[list[_Node]] = [[] for _ in range(1 + max((n.layer for n in nodes.values()), default=0))]
    for node in nodes.values():
        rows[node.layer].append(node)
    for target, read in reads.items():
        for name in read:
            upper = nodes[name]
            for layer in range(upper.layer + 1, nodes[target].layer):
                point = _Node("", layer, 6, [upper])
                upper.below.append(point)
                rows[layer].append(point)
                upper = point
            upper.below.append(nodes[target])
            nodes[target].above.append(upper)
    return rows


def _order(rows: list[list[_Node]]) -> None:
    """Barycentres, down and up in turn."""
    for row in rows:
        for at, node in enumerate(row):
            node.x = at
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            wanted = {id(n): _mean(n.above if down else n.below, n.x) for n in row}
            row.sort(key=lambda n: wanted[id(n)])
            for at, node in enumerate(row):
                node.x = at - (len(row) - 1) / 2


def _mean(neighbours: list[_Node], otherwise: float) -> float:
    return sum(n.x for n in neighbours) / len(neighbours) if neighbours else otherwise


def _place(rows: list[list[_Node]]) -> float:
    """Coordinates: each row packed and centred, then drawn towards its neighbours where there is room."""
    spans = [sum(n.width for n in row) + _GAP * (len(row) - 1) for row in rows]
    width = max(spans, default=0.0) + 2 * _MARGIN
    for row, span in zip(rows, spans, strict=True):
        x = (width - span) / 2
        for node in row:
            node.x = x + node.width / 2
            x += node.width + _GAP
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 else reversed(rows):
            _draw_towards(row, width)
    return width


def _draw_towards(row: list[_Node], width: float) -> None:
    wanted = [_mean([*n.above, *n.below], n.x) for n in row]
    for at, node in enumerate(row):
        least = (
            row[at - 1].x + (row[at - 1].width + node.width) / 2 + _GAP if at else _MARGIN + node.width / 2
        )
        most = (
            row[at + 1].x - (row[at + 1].width + node.width) / 2 - _GAP
            if at + 1 < len(row)
            else width - _MARGIN - node.width / 2
        )
        node.x = min(max(wanted[at], least), max(most, least))


def _paths(nodes: dict[str, _Node], reads: dict[str, tuple[str, ...]]) -> Iterator[str]:
    for target in reads:
        for upper in nodes[target].above:
            chain = [nodes[target], upper]
            while not chain[-1].name:
                chain.append(chain[-1].above[0])
            yield _path(chain[::-1])


def _path(chain: list[_Node]) -> str:
    x, y = chain[0].x, _top(chain[0]) + _HEIGHT
    text = f"M{x:.1f} {y:.1f}"
    for node in chain[1:]:
        end = _top(node)
        half = (y + end) / 2
        text += f" C{x:.1f} {half:.1f} {node.x:.1f} {half:.1f} {node.x:.1f} {end:.1f}"
        x, y = node.x, end
        if not node.name:
            y = end + _HEIGHT
            text += f" L{x:.1f} {y:.1f}"
    return text


def _top(node: _Node) -> float:
    return _MARGIN + node.layer * _LAYER


def _box(cascade: Cascade, node: _Node) -> Box:
    label, caption, kind, statement = _told(cascade, node.name)
    return Box(label, caption, kind, statement, node.x, _top(node), node.width)


def _width(cascade: Cascade, name: str) -> float:
    label, caption, _, _ = _told(cascade, name)
    return max(56.0, 7.3 * len(label) + 18, 6.0 * len(caption) + 18)


def _told(cascade: Cascade, name: str) -> tuple[str, str, str, str]:
    """Label, caption, kind and full text of a tensor."""
    declared = cascade.input(name)
    if declared is not None:
        members = [" ".join(a.indices) for a in declared.axes]
        axes = ", ".join(f"({m})" if " " in m else m for m in members)
        label = f"{name}[{axes}]" if axes else name
        return label, declared.dtype or "input", "input", f"input {label}"
    parts = cascade.definitions(name)
    first = parts[0]
    dims = ",".join(first.dims)
    output = name in {o.name for o in cascade.outputs}
    kind = "output" if output else "pointwise" if _caption(first).startswith("=") else "reduction"
    statement = "\n".join(print_statement(p) for p in parts)
    more = f" and {len(parts) - 1} more" if len(parts) > 1 else ""
    return (f"{name}[{dims}]" if dims else name), _short(_caption(first)) + more, kind, statement


def _caption(statement: Statement) -> str:
    """``+= over j``, or ``= exp(...)``."""
    if not isinstance(statement, Einsum):
        return f"{statement.kind} over {statement.over}"
    symbol = "" if statement.reduce is None else statement.reduce.value
    if statement.over:
        return f"{symbol}= over {', '.join(statement.over)}"
    return f"{symbol}= {print_expr(statement.body)}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
