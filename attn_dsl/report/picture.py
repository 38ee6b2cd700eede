"""One picture of a mechanism, of a kind: text for a terminal, or a file for a paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.report.costs import account_at
from attn_dsl.report.figure import Draw, rendered, save
from attn_dsl.report.masks import MaskRequest, mask_maps, tile_maps
from attn_dsl.report.weights import tensor_heat

KINDS = ("mask", "tiles", "weights", "roofline", "histogram")
WIDTH = 80  # columns of a terminal, where nobody says


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is drawn when it is asked for. ``str()`` is its text in plain characters; notebooks show
    it."""

    kind: str
    draw: Draw
    write: Callable[[int, bool], Text]

    def save(self, path: str | Path) -> Path:
        """Draw it into a ``.png``, ``.svg`` or ``.pdf`` file by matplotlib. ArgumentError where that cannot
        be."""
        return save(self.draw, path)

    def text(self, width: int = WIDTH, *, colour: bool = False) -> Text:
        """It in characters, at most ``width`` columns."""
        return self.write(width, colour)

    def __str__(self) -> str:
        return self.text().plain

    def _repr_png_(self) -> bytes:
        return rendered(self.draw, "png")


def picture(request: MaskRequest, kind: str, tensor: str | None = None) -> Picture:
    """The picture of a kind: ``mask``, the pairs and tiles; ``tiles``, the tiles alone, at any length;
    ``weights``, a tensor evaluated (``tensor``, else the last over rows and keys); ``roofline``;
    ``histogram``, of tiles by kind. ArgumentError, NotLoweredError."""
    makers: dict[str, Callable[[MaskRequest], Picture]] = {
        "mask": _mask, "tiles": _tiles, "roofline": _roofline, "histogram": _histogram,
        "weights": lambda asked: _weights(asked, tensor),
    }  # fmt: skip
    if kind not in makers:
        raise ArgumentError(Diagnostic(f"there is no picture '{kind}'", help=f"one of {', '.join(KINDS)}"))
    if tensor is not None and kind != "weights":
        raise ArgumentError(Diagnostic(f"a tensor is for 'weights', not for '{kind}'"))
    return makers[kind](request)


def _mask(request: MaskRequest) -> Picture:
    from attn_dsl.report.mask_figure import mask_figure
    from attn_dsl.report.terminal import mask_text

    maps = mask_maps(request)
    return Picture(
        "mask",
        lambda: mask_figure(maps),
        lambda width, colour: _joined(mask_text(m, width, colour=colour) for m in maps),
    )


def _tiles(request: MaskRequest) -> Picture:
    from attn_dsl.report.mask_figure import tile_figure
    from attn_dsl.report.terminal import tile_text

    maps = tile_maps(request)
    return Picture(
        "tiles",
        lambda: tile_figure(maps),
        lambda width, colour: _joined(tile_text(m, width, colour=colour) for m in maps),
    )


def _weights(request: MaskRequest, tensor: str | None) -> Picture:
    from attn_dsl.report.heat_figure import heat_figure
    from attn_dsl.report.terminal import heat_text

    heats = tensor_heat(request, tensor)
    return Picture(
        "weights", lambda: heat_figure(heats), lambda width, _: _joined(heat_text(h, width) for h in heats)
    )


def _roofline(request: MaskRequest) -> Picture:
    from attn_dsl.report.cost_figure import roofline_figure, roofline_text

    costed = account_at(request)
    return Picture(
        "roofline",
        lambda: roofline_figure((costed.analysis,)),
        lambda width, colour: Text(roofline_text(costed.analysis)),
    )


def _histogram(request: MaskRequest) -> Picture:
    from attn_dsl.report.cost_figure import histogram_figure
    from attn_dsl.report.terminal import histogram_text

    costed = account_at(request)
    return Picture(
        "histogram",
        lambda: histogram_figure(costed.analysis, costed.made_up),
        lambda width, _: histogram_text(costed.analysis, costed.made_up, width),
    )


def _joined(texts: Iterable[Text]) -> Text:
    return Text("\n\n").join(texts)
