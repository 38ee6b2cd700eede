"""Figures of masks with their tiles, and of tiles alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attn_dsl.account.tile_map import TileKind
from attn_dsl.report.figure import FAINT, INK, PAPER, SHADES, Draw, note, panels
from attn_dsl.report.masks import MaskMap, TileMap
from attn_dsl.report.terminal import element_codes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL, _LEAST = 3.2, 2.2  # inches; the legend is as wide as the least
_MOST_LINES = 48  # of a tile grid along a side
_KINDS = ((TileKind.FULL, SHADES[3]), (TileKind.PARTIAL, SHADES[2]), (TileKind.EMPTY, SHADES[0]))


def mask_figure(masks: Sequence[MaskMap]) -> Figure:
    """Every mask with its tiles. A mask whose sides are one index each is one panel; else elements, tiles,
    and what the middle row sees are three."""
    rows = (
        in_rows([panel_shape(m.live) for m in masks])
        if all(m.tiles.is_flat for m in masks)
        else [[panel_shape(p) for p in _parts(m)] for m in masks]
    )
    figure, axes = panels(rows)
    at = 0
    for mask in masks:
        parts = len(_parts(mask))
        _folded(axes[at : at + parts], mask) if parts > 1 else _flat(axes[at], mask)
        at += parts
    return figure


def part_figures(mask: MaskMap) -> tuple[Draw, ...]:
    """The panels of one mask as figures of their own, for where they stand below one another."""
    if mask.tiles.is_flat and mask.window() is None:
        return (lambda: mask_figure((mask,)),)
    drawers: list[Callable[[Axes], None]] = [lambda axes: _pairs(axes, mask)]
    if not mask.tiles.is_flat:
        drawers.append(lambda axes: _tiles(axes, mask.tiles, "tiles"))
    window = mask.window()
    if window is not None:
        drawers.append(lambda axes: _window(axes, mask.tiles, *window))
    shapes = [panel_shape(part) for part in _parts(mask)]
    return tuple(partial(_alone, draw, shape) for draw, shape in zip(drawers, shapes, strict=True))


def _alone(draw: Callable[[Axes], None], shape: tuple[float, float]) -> Figure:
    figure, (axes,) = panels([[shape]])
    draw(axes)
    return figure


def tile_figure(maps: Sequence[TileMap]) -> Figure:
    """The tiles of every loop, a point each."""
    figure, axes = panels(in_rows([panel_shape(m.kinds) for m in maps]))
    for one, at in zip(maps, axes, strict=True):
        _tiles(at, one, one.title)
    return figure


def in_rows(shapes: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Panels two or three to a row."""
    per_row = 2 if len(shapes) in (2, 4) else 3
    return [shapes[k : k + per_row] for k in range(0, len(shapes), per_row)]


def panel_shape(values: NDArray[Any]) -> tuple[float, float]:
    """Width and height in inches, in proportion to an array."""
    height, width = values.shape
    longest = max(height, width, 1)
    return max(_PANEL * width / longest, _LEAST), max(_PANEL * height / longest, _LEAST / 2)


def _parts(mask: MaskMap) -> list[NDArray[Any]]:
    window = mask.window()
    return [
        mask.live,
        *([] if mask.tiles.is_flat else [mask.tiles.kinds]),
        *([] if window is None else [window[0]]),
    ]


def _flat(axes: Axes, mask: MaskMap) -> None:
    _image(axes, element_codes(mask), SHADES)
    _name_sides(axes, mask.tiles)
    _grid(axes, mask)
    axes.set_title(mask.tiles.title, pad=17)
    _legend(axes, mask.tiles)
    note(axes, f"{mask.share:.1%} of pairs exist; tiles of {mask.tiles.lanes}{_made_up(mask.tiles)}")


def _folded(axes: Sequence[Axes], mask: MaskMap) -> None:
    _pairs(axes[0], mask)
    if not mask.tiles.is_flat:
        _tiles(axes[1], mask.tiles, "tiles")
    window = mask.window()
    if window is not None:
        _window(axes[-1], mask.tiles, *window)


def _pairs(axes: Axes, mask: MaskMap) -> None:
    _image(axes, mask.live.astype(np.int8), (SHADES[0], SHADES[2]))
    _name_sides(axes, mask.tiles)
    axes.set_title(f"{mask.tiles.title}: pairs", pad=17)
    note(axes, f"{mask.share:.1%} of pairs exist{_made_up(mask.tiles)}")


def _tiles(axes: Axes, tiles: TileMap, title: str) -> None:
    _image(axes, tiles.kinds, (SHADES[0], SHADES[2], SHADES[3]))
    for at in range(1, tiles.kinds.shape[0] if max(tiles.kinds.shape) <= _MOST_LINES else 1):
        axes.axhline(at - 0.5, color=PAPER, linewidth=0.5)
    for at in range(1, tiles.kinds.shape[1] if max(tiles.kinds.shape) <= _MOST_LINES else 1):
        axes.axvline(at - 0.5, color=PAPER, linewidth=0.5)
    axes.set_title(title, pad=17)
    axes.set_ylabel(f"tiles of {_product(tiles.rows.values())} rows {' '.join(tiles.rows)}")
    axes.set_xlabel(f"tiles of {_product(tiles.streams.values())} {' '.join(tiles.streams)}")
    _legend(axes, tiles)
    if tiles.made_up or not tiles.exact:
        most = "" if tiles.exact else "at most these: some bounds are not known before the call"
        note(axes, f"{most}{_made_up(tiles)}".removeprefix("\n"))


def _product(lanes: Iterable[int]) -> str:
    return " × ".join(map(str, lanes))


def _window(axes: Axes, tiles: TileMap, live: NDArray[np.bool_], place: tuple[int, ...]) -> None:
    rows, streams = tuple(tiles.rows), tuple(tiles.streams)
    _image(axes, live.astype(np.int8), (SHADES[0], SHADES[2]))
    axes.plot([place[-1]], [place[-2]], marker="o", markersize=3.5, color=INK, markeredgewidth=0)
    row = ", ".join(f"{n} = {p}" for n, p in zip(rows, place, strict=True))
    axes.set_title(f"what row {row} sees", pad=17)
    axes.set_ylabel(streams[-2])
    axes.set_xlabel(streams[-1])
    lead = ", ".join(f"{n} = {p}" for n, p in zip(streams[:-2], place, strict=False))
    note(axes, f"dot: the row's own place{'; at ' + lead if lead else ''}")


def _name_sides(axes: Axes, tiles: TileMap) -> None:
    axes.set_ylabel(f"rows {' '.join(tiles.rows)}")
    axes.set_xlabel(" ".join(tiles.streams))


def _image(axes: Axes, codes: NDArray[Any], shades: Sequence[str]) -> None:
    from matplotlib.colors import ListedColormap

    many = max(codes.shape) > 700
    axes.imshow(
        codes, cmap=ListedColormap(list(shades)), vmin=-0.5, vmax=len(shades) - 0.5, aspect="auto",
        interpolation="antialiased" if many else "nearest", interpolation_stage="rgba",
    )  # fmt: skip
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    mark_places(axes, *codes.shape)


def mark_places(axes: Axes, height: int, width: int) -> None:
    """Ticks at the places of elements: multiples of a power of two, some four a side."""
    from matplotlib.ticker import MultipleLocator

    for axis, length in ((axes.yaxis, height), (axes.xaxis, width)):
        axis.set_major_locator(MultipleLocator(1 << max(0, (length - 1).bit_length() - 2)))


def _grid(axes: Axes, mask: MaskMap) -> None:
    """The edges of the tiles, where they stand apart."""
    height, width = mask.live.shape
    (row,), (stream,) = mask.tiles.rows.values(), mask.tiles.streams.values()
    if max(height // row, width // stream) > _MOST_LINES:
        return
    for at in range(row, height, row):
        axes.axhline(at - 0.5, color=PAPER, linewidth=0.5)
    for at in range(stream, width, stream):
        axes.axvline(at - 0.5, color=PAPER, linewidth=0.5)


def _legend(axes: Axes, tiles: TileMap) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(
            facecolor=shade, edgecolor=FAINT, linewidth=0.4, label=f"{tiles.count(kind):,} {kind.name.lower()}"
        )
        for kind, shade in _KINDS
    ]  # fmt: skip
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(-0.03, 0.985), ncols=3, handlelength=0.9,
        handleheight=0.9, columnspacing=0.9, handletextpad=0.4, borderaxespad=0.1,
    )  # fmt: skip


def _made_up(tiles: TileMap) -> str:
    return f"\n{', '.join(tiles.made_up)} made up" if tiles.made_up else ""
