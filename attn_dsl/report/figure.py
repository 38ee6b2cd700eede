"""What all figures share: matplotlib without pyplot, one style, and files.

Nothing global changes, and threads may draw. Shades are of one hue, from light to dark, and stay apart in
print without colour; those of empty and dead elements are transparent, so that a figure stands on paper of
any colour.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn_dsl.errors import ArgumentError, Diagnostic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
INK, FAINT, PAPER = "#1d2733", "#8a94a0", "#fefefe"
SHADES = ("#6fa3cf00", "#6fa3cf45", "#5b9bd5", "#1f5f9f")  # empty, dead in a partial tile, live there, full
SERIES = ("#1f5f9f", "#c2571a", "#3d8a4f", "#8a5aa8", "#8a6d1f")
_STYLE: dict[str, Any] = {
    "font.size": 9, "axes.titlesize": 9.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.labelsize": 9, "axes.edgecolor": FAINT, "axes.linewidth": 0.6, "text.color": INK, "axes.labelcolor": INK,
    "axes.titlecolor": INK, "xtick.color": INK, "ytick.color": INK, "xtick.labelsize": 8, "ytick.labelsize": 8,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5,
    "xtick.minor.width": 0.4, "ytick.minor.width": 0.4, "svg.fonttype": "path", "legend.fontsize": 8,
    "legend.frameon": False, "axes.facecolor": "none", "figure.facecolor": "white", "text.parse_math": False,
    "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip

Draw = Callable[[], "Figure"]


def require_matplotlib() -> None:
    """ArgumentError where it is not installed."""
    try:
        import_module("matplotlib")
    except ImportError:
        raise ArgumentError(
            Diagnostic(
                "pictures need matplotlib", help="pip install -e '.[report]', in a clone of the repository"
            )
        ) from None


def save(draw: Draw, path: str | Path) -> Path:
    """Draw into a file whose name says the format. ArgumentError where it cannot be written; checks that cost
    nothing come before the drawing."""
    path = Path(path)
    require_drawing(path)
    data = rendered(draw, path.suffix.lower().removeprefix("."))
    try:
        path.write_bytes(data)
    except OSError as error:
        raise unwritable(path, error.strerror or "cannot be written") from None
    return path


def rendered(draw: Draw, form: str) -> bytes:
    """The figure as a file's content: the same bytes every time."""
    require_matplotlib()
    import matplotlib

    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form)
    content = BytesIO()
    style: dict[Any, Any] = {**_STYLE, "svg.hashsalt": "attn_dsl"}
    with matplotlib.rc_context(style):
        draw().savefig(content, format=form, dpi=200, metadata=metadata)
    return content.getvalue()


def inline_svg(draw: Draw, number: int) -> str:
    """The figure as an element of an HTML page, in the page's own font and colours (``--ink``, ``--faint``,
    ``--paper``). ``number``: another for each figure of a page, which keeps their ids apart."""
    require_matplotlib()
    import matplotlib

    content = StringIO()
    style: dict[Any, Any] = {**_STYLE, "svg.hashsalt": f"attn_dsl {number}", "svg.fonttype": "none"}
    with matplotlib.rc_context(style):
        draw().savefig(content, format="svg", transparent=True, dpi=160, metadata={"Date": None})
    text = content.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' (xmlns(:\w+)?="[^"]*"|version="1.1")', "", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(
        r"(<svg\b[^>]*?) width=\"([\d.]+)pt\" height=\"[\d.]+pt\"", r'\1 style="--natural:\2"', text, count=1
    )
    text = text.replace("xlink:href", "href")
    for colour, name in ((INK, "ink"), (FAINT, "faint"), (PAPER, "paper")):
        text = text.replace(colour, f"var(--{name})")
    return re.sub(r"font: ([\d.a-z ]*)'[^;\"]*", r"font: \1sans-serif", text)


def require_drawing(path: Path) -> None:
    """ArgumentError where a picture cannot be drawn into such a file, before anything is computed."""
    require_format(path)
    require_writable(path)
    require_matplotlib()


def require_format(path: Path) -> None:
    """ArgumentError where the name ends in no format of pictures."""
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        found = f"no picture ends in '{path.suffix}'" if path.suffix else "the name has no extension"
        raise ArgumentError(
            Diagnostic(f"{path}: {found}", help=f"one of {', '.join(f'.{f}' for f in FORMATS)}")
        )


def require_writable(path: Path) -> None:
    """ArgumentError where a file could not be written there: no folder, or it is one itself."""
    if path.is_dir():
        raise unwritable(path, "is a directory")
    if not path.absolute().parent.is_dir():
        raise unwritable(path, f"there is no directory {path.parent}")


def unwritable(path: Path, reason: str) -> ArgumentError:
    """The error for a file that cannot be written."""
    return ArgumentError(
        Diagnostic(f"{path}: {reason[:1].lower()}{reason[1:]}", help="give the path of a file to write")
    )


def panels(rows: Sequence[Sequence[tuple[float, float]]], right: float = 0.12) -> tuple[Figure, list[Axes]]:
    """Axes in rows; each panel of a width and a height in inches. ``right``: room beside the last."""
    from matplotlib.figure import Figure

    gap, left, top, bottom = 0.6 + right, 0.62, 0.5, 0.72
    width = left + right + max(sum(w for w, _ in row) + gap * (len(row) - 1) for row in rows)
    heights = [max(h for _, h in row) + top + bottom for row in rows]
    figure = Figure(figsize=(width, sum(heights)))
    axes: list[Axes] = []
    base = sum(heights)
    for row, height in zip(rows, heights, strict=True):
        base -= height
        x = left
        for w, h in row:
            y = base + bottom + (height - top - bottom - h)
            axes.append(figure.add_axes((x / width, y / sum(heights), w / width, h / sum(heights))))
            x += w + gap
    return figure, axes


def chart(width: float = 4.2, height: float = 2.9, below: float = 0.0) -> tuple[Figure, Axes]:
    """One set of axes with room for labels; ``below``: inches more under them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.add_axes(
        (0.62 / width, (0.5 + below) / height, 1 - 0.8 / width, 1 - (0.85 + below) / height)
    )
    return figure, axes


def note(axes: Axes, text: str, below: float = 30) -> None:
    """A small line under the axes."""
    axes.annotate(
        text, (0, 0), (-24, -below), xycoords="axes fraction", textcoords="offset points", fontsize=7.5, color=FAINT,
        va="top",
    )  # fmt: skip
