"""Masks as text: half blocks in colour on a terminal, braille without.

A character is one element wide and two high (half blocks), or two wide and four high (braille); longer
sequences are drawn smaller. A full tile, the live elements of a partial one, and its dead ones have a colour
each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Text

from attn_dsl.account.model import Analysis
from attn_dsl.account.tile_map import TileKind
from attn_dsl.report.costs import distinct_loops
from attn_dsl.report.masks import MaskMap, TileMap
from attn_dsl.report.weights import Heat

_COLOURS = {1: "#3f4a55", 2: "#6aa9dc", 3: "#2f6da3"}  # dead in a partial tile, live in one, of a full tile
_SHADES = " ·░▒▓█"  # absent, and five shades
_TILE_CODES = np.array([0, 2, 3], dtype=np.int8)  # of a tile kind
_BRAILLE = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


def mask_text(mask: MaskMap, width: int, *, colour: bool) -> Text:
    """The title, the picture in at most ``width`` columns, and what the colours mean."""
    text = _heading(mask.tiles)
    columns = width - 2
    lines = (
        _half_blocks(element_codes(mask), min(columns, 72))
        if colour
        else _braille(mask.live, min(2 * columns, 128))
    )
    for line in lines:
        text.append_text(line).append("\n")
    if colour:
        _legend(text, (3, "full tile"), (2, "partial tile"), (1, "its pairs that do not exist"))
    return _footing(text, mask.summary, mask.tiles)


def tile_text(tiles: TileMap, width: int, *, colour: bool) -> Text:
    """The same of tiles alone, a character a tile where they fit: ``█`` full, ``▒`` partial, ``·`` empty."""
    text = _heading(tiles)
    if colour:
        lines = list(_half_blocks(_TILE_CODES[tiles.kinds], min(width - 2, 72)))
    else:
        lines = [
            Text(" " + "".join("·▒█"[k] for k in row)) for row in _fitted(tiles.kinds, width - 2).tolist()
        ]
    for line in lines:
        text.append_text(line).append("\n")
    if colour:
        _legend(text, (3, "full"), (2, "partial"))
    else:
        text.append("█ full  ▒ partial  · empty\n", "dim")
    return _footing(text, tiles.summary, tiles)


def heat_text(heat: Heat, width: int) -> Text:
    """A slice of a tensor in five shades, from its least to its greatest value; nothing where there is
    none."""
    text = Text()
    text.append(f"{heat.title}\n", "bold")
    text.append(
        f"rows {side_text(heat.rows, heat.sizes)} down, {side_text(heat.columns, heat.sizes)} across\n", "dim"
    )
    finite = heat.values[np.isfinite(heat.values)]
    least, greatest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    scale = (greatest - least) or 1.0
    codes = np.where(np.isnan(heat.values), 0, 1 + np.clip((heat.values - least) / scale * 5, 0, 4)).astype(
        np.int8
    )
    for row in _fitted(codes, width - 2)[::2].tolist():
        text.append(" " + "".join(_SHADES[k] for k in row).rstrip() + "\n")
    text.append(f"· {least:.3g} to █ {greatest:.3g}")
    if heat.made_up:
        text.append(f"\nrandom: {', '.join(heat.made_up)}", "dim")
    return text


def histogram_text(analysis: Analysis, made_up: tuple[str, ...], width: int) -> Text:
    """The tiles of every loop by kind, a bar each."""
    text = Text()
    for kernel in () if analysis.forward is None else analysis.forward.kernels:
        for loop in distinct_loops(kernel):
            tiles, most = loop.tiles, "" if loop.exact else "at most "
            text.append(f"{', '.join(kernel.stores)} over {', '.join(loop.stream)}\n", "bold")
            ends = [round(n * (width - 2) / max(tiles.total, 1)) for n in (tiles.full, tiles.visited)]
            bar = "█" * ends[0] + "▒" * (ends[1] - ends[0]) + "·" * (width - 2 - ends[1])
            text.append(f" {bar}\n")
            counts = f"{most}█ {tiles.full:,} full, ▒ {tiles.partial:,} partial, · {tiles.empty:,} empty"
            text.append(f" {counts} of {tiles.total:,} tiles\n")
    if made_up:
        text.append(f"made up: {', '.join(made_up)}", "dim")
    text.rstrip()
    return text


def _heading(tiles: TileMap) -> Text:
    text = Text()
    text.append(f"{tiles.title}\n", "bold")
    rows, streams = (side_text(side, tiles.sizes) for side in (tiles.rows, tiles.streams))
    text.append(f"rows {rows} down, {streams} across; {tiles.predicate}\n", "dim")
    return text


def _legend(text: Text, *shades: tuple[int, str]) -> None:
    for code, meaning in shades:
        text.append("██", _COLOURS[code]).append(f" {meaning}  ")
    text.append("\n")


def _footing(text: Text, summary: str, tiles: TileMap) -> Text:
    text.append(summary)
    if tiles.made_up:
        text.append(f"\nmade up: {', '.join(tiles.made_up)}", "dim")
    return text


def side_text(side: Iterable[str], sizes: Mapping[str, int]) -> str:
    """``i (1024)`` or ``x y (32 × 32)``."""
    names = tuple(side)
    return f"{' '.join(names)} ({' × '.join(str(sizes[n]) for n in names)})"


def element_codes(mask: MaskMap) -> NDArray[np.int8]:
    """For each pair 0 to 3: in an empty tile, dead in a partial one, live in a partial one, in a full one.
    Where a side has several indices its tiles are no rectangles, and every live pair is 2."""
    live = mask.live.astype(np.int8)
    if not mask.tiles.is_flat:
        return 2 * live
    (row_tile,), (stream_tile,) = mask.tiles.rows.values(), mask.tiles.streams.values()
    kinds = mask.tiles.kinds.repeat(row_tile, 0).repeat(stream_tile, 1)[: live.shape[0], : live.shape[1]]
    full, partial = kinds == TileKind.FULL, kinds == TileKind.PARTIAL
    return np.where(full, 3, np.where(partial, 1 + live, 0)).astype(np.int8)


def _shrunk(codes: NDArray[np.int8], height: int, width: int) -> NDArray[np.int8]:
    """A smaller picture: of the elements behind a point the greatest code, so that nothing live is lost, but
    a full tile beside a partial one does not hide it."""
    rows = np.linspace(0, codes.shape[0], height + 1).astype(int)[:-1]
    columns = np.linspace(0, codes.shape[1], width + 1).astype(int)[:-1]
    return np.maximum.reduceat(np.maximum.reduceat(codes, rows, axis=0), columns, axis=1)


def _fitted(codes: NDArray[np.int8], width: int) -> NDArray[np.int8]:
    """As it is where it fits, else at the largest size in proportion that does."""
    height, wide = codes.shape
    scale = min(1.0, width / max(wide, 1), 1.5 * width / max(height, 1))
    return _shrunk(codes, max(1, round(height * scale)), max(1, round(wide * scale)))


def _half_blocks(codes: NDArray[np.int8], width: int) -> Iterator[Text]:
    few = codes.size <= 1024
    codes = _fitted(codes, width)
    codes = np.pad(codes, ((0, codes.shape[0] % 2), (0, 0)))
    for upper, lower in zip(codes[::2], codes[1::2], strict=True):
        line = Text(" ")
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            if above and above == below:
                line.append("█", _COLOURS[above])
            elif above or below:
                top, bottom = _COLOURS.get(above), _COLOURS.get(below)
                style = Style(color=top, bgcolor=bottom) if above else Style(color=bottom)
                line.append("▀" if above else "▄", style)
            else:
                line.append("·" if few else " ", "dim")
        yield line


def _braille(pairs: NDArray[np.bool_], width: int) -> Iterator[Text]:
    live = _fitted(pairs.astype(np.int8), width) > 0
    live = np.pad(live, ((0, -live.shape[0] % 4), (0, -live.shape[1] % 2)))
    cells = live.reshape(live.shape[0] // 4, 4, live.shape[1] // 2, 2)
    codes = (cells * _BRAILLE[None, :, None, :]).sum(axis=(1, 3))
    for row in codes.tolist():
        yield Text(" " + "".join(chr(0x2800 + code) for code in row))
