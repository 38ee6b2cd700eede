"""The lanes of a kernel's tiles, from a schedule and the extents of what a tile holds whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod

from attn_dsl.codegen.schedule.schedule import Schedule
from attn_dsl.codegen.targets.machine import Machine


@dataclass(frozen=True, slots=True)
class Tiles:
    """Lanes of each tiled index (``BLOCK_I``) and padded extent of each whole one, powers of two. ``bands``:
    for a stream, the axis of the diagonals of a tile of rows and stream, and its lanes."""

    rows: tuple[tuple[str, int], ...]
    streams: Mapping[str, int]
    whole: Mapping[str, int]
    bands: Mapping[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])


VECTOR = 16  # lanes of the widest: those of a product's rows fill whole ones


def next_power_of_two(n: int) -> int:
    """The least power of two that is at least n (1 for 0)."""
    return 1 << max(n - 1, 0).bit_length()


def padded_extent(size: int, alone: bool, machine: Machine) -> int:
    """The lanes of a whole index: a matrix product needs at least 16."""
    if not machine.pads:
        return max(size, 1)
    return max(next_power_of_two(size), 16 if alone else 1)


def share_lanes(indices: tuple[str, ...], lanes: int) -> tuple[tuple[str, int], ...]:
    """Part the lanes of a tile among its indices, evenly, the innermost getting the remainder."""
    bits = lanes.bit_length() - 1
    each, more = divmod(bits, max(len(indices), 1))
    return tuple(
        (index, 1 << (each + (1 if position >= len(indices) - more else 0)))
        for position, index in enumerate(indices)
    )


def _stream_lanes(
    group: tuple[str, ...], positional: frozenset[str], lanes: int
) -> Iterator[tuple[str, int]]:
    """Positions share the lanes; where a group has none, its last index has them. The rest go one by one."""
    tiled = tuple(i for i in group if i in positional) or group[-1:]
    shared = dict(share_lanes(tiled, lanes))
    yield from ((i, shared.get(i, 1)) for i in group)


def make_tiles(
    rows: tuple[str, ...], streams: tuple[tuple[str, ...], ...], whole: Mapping[str, int],
    inner: frozenset[str], positional: frozenset[str], schedule: Schedule, machine: Machine, least: int = 16,
    least_beside: int = 1, beside_rows: frozenset[str] = frozenset(),
) -> Tiles:  # fmt: skip
    """Lanes for every index. ``inner``: whole indices that stand beside a stream in one operand's rows (the
    tokens of a block): they share the stream's lanes. ``beside_rows``: the same beside the rows, where blocks
    are these; a CPU's vectors want rows. ``positional``: indices whose value matters, as that of a position
    does and that of a head does not: of a stream of several indices they have the lanes. ``least``: of a
    stream; a matrix product takes 16; ``least_beside``: of one that shares its lanes."""
    beside = 1
    for index in inner:
        beside *= next_power_of_two(whole[index])
    lanes = max((schedule.stream_tile or 16) // beside, 1)
    tiles = {
        i: n
        for group in streams
        for i, n in _stream_lanes(group, positional, max(lanes, least_beside if inner else least))
    }
    extents = {i: padded_extent(n, i not in inner, machine) for i, n in whole.items()}
    row_lanes = schedule.row_tile or 16
    if machine.pads:
        row_lanes = max(row_lanes // prod(next_power_of_two(whole[index]) for index in beside_rows), 2)
    return Tiles(share_lanes(rows, row_lanes), tiles, extents)


def with_bands(tiles: Tiles, axes: Mapping[str, str], machine: Machine) -> Tiles:
    """The tiles with the diagonals of rows and each of these streams, under the names of their axes: one more
    than there are, and whole vectors of them."""
    rows = prod(n for _, n in tiles.rows)
    bands: dict[str, tuple[str, int]] = {}
    for stream, axis in axes.items():
        diagonals = rows + tiles.streams[stream]
        filled = -(-diagonals // VECTOR) * VECTOR
        bands[stream] = (axis, next_power_of_two(diagonals) if machine.pads else filled)
    return replace(tiles, bands=bands)
