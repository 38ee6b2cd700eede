"""Figures of the account: the roofline with the mechanism on it, kinds of tiles, costs over lengths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from attn_dsl.account.devices import Device, device
from attn_dsl.account.model import Analysis, KernelAccount, LoopAccount, ProgramAccount
from attn_dsl.account.text import bytes_text, count_text
from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.report.costs import distinct_loops
from attn_dsl.report.figure import FAINT, INK, SERIES, SHADES, chart, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def roofline_figure(analyses: Sequence[Analysis], labels: Sequence[str] = ()) -> Figure:
    """The roofs of a device, and the mechanism at each analysis: products executed in the least time, by
    products a byte. Below a roof, something else bounds it, which the note names. ArgumentError where it has
    no products."""
    programs = [forward(a) for a in analyses]
    if not all(p.contractions.executed and p.bytes for p in programs):
        raise ArgumentError(
            Diagnostic(f"{analyses[0].name} has no products at these sizes: no place on a roofline")
        )
    machine = device(analyses[-1].device)
    peak, kind = _peak(programs[-1], machine)
    xs = [p.intensity for p in programs]
    ys = [p.contractions.executed / p.rooflines[0].seconds for p in programs]
    figure, axes = chart()
    ridge = peak / machine.bandwidth
    low, high = min(*xs, ridge / 4) / 3, max(*xs, ridge) * 4
    axes.plot([low, ridge, high], [low * machine.bandwidth, peak, peak], color=INK, linewidth=1.2)
    axes.annotate(
        f"{count_text(peak)}FLOP/s of {kind}",
        (high, peak),
        (-2, 4),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    middle = (low * ridge) ** 0.5
    axes.annotate(
        f"{bytes_text(machine.bandwidth)}/s", (middle, middle * machine.bandwidth), (-6, 3), ha="right", fontsize=8,
        textcoords="offset points",
    )  # fmt: skip
    axes.plot(xs, ys, color=SERIES[1], linewidth=0.8, marker="o", markersize=4)
    _name_points(axes, xs, ys, labels)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(min(*ys, low * machine.bandwidth) / 2, peak * 2.5)
    axes.set_xlim(low, high)
    axes.set_xlabel("FLOP a byte of memory")
    axes.set_ylabel("FLOP/s")
    axes.set_title(f"{machine.name}: {programs[-1].rooflines[0].bound}-bound")
    _engineering(axes.xaxis)
    _engineering(axes.yaxis)
    return figure


def roofline_text(analysis: Analysis) -> str:
    """The same of every device as lines: products a byte, the least time and what bounds it."""
    program = forward(analysis)
    lines = [f"{analysis.name}: {program.intensity:.3g} FLOP a byte of memory"]
    for found in program.rooflines:
        rate = program.contractions.executed / found.seconds if found.seconds else 0.0
        machine = device(found.device)
        lines.append(
            f"{found.device:9}{count_text(rate)}FLOP/s of {count_text(_peak(program, machine)[0])}, {found.bound}-bound"
        )
    return "\n".join(lines)


def _name_points(axes: Axes, xs: Sequence[float], ys: Sequence[float], labels: Sequence[str]) -> None:
    """Labels of the first and the last point, on the sides away from each other; those between follow."""
    if not labels:
        return
    forwards = xs[-1] >= xs[0]
    for at, outwards in ((0, not forwards), (len(xs) - 1, forwards)):
        axes.annotate(
            labels[at], (xs[at], ys[at]), (6 if outwards else -6, -4), textcoords="offset points", fontsize=7.5,
            color=SERIES[1], ha="left" if outwards else "right", va="top",
        )  # fmt: skip


def forward(analysis: Analysis) -> ProgramAccount:
    """The forward pass. ArgumentError for formulas, which were made without sizes."""
    if analysis.forward is None:
        raise ArgumentError(Diagnostic("this picture needs sizes", help="for instance i=8192, j=8192"))
    return analysis.forward


def _peak(program: ProgramAccount, machine: Device) -> tuple[float, str]:
    """The rate of the operands that most products are of."""
    amounts: dict[str, int] = {}
    for kernel in program.kernels:
        for dtype, amount in kernel.products.items():
            amounts[dtype] = amounts.get(dtype, 0) + amount
    kind = max(amounts, key=amounts.__getitem__)
    if kind == "f32" and torch.get_float32_matmul_precision() != "highest":
        kind = "tf32"
    return machine.matrix[kind], kind


def histogram_figure(analysis: Analysis, made_up: Sequence[str] = ()) -> Figure:
    """The tiles of every loop by kind, as shares with their numbers."""
    loops = [(k, loop) for k in forward(analysis).kernels for loop in distinct_loops(k)]
    if not loops:
        raise ArgumentError(Diagnostic(f"{analysis.name} has no loop over a stream: no tiles"))
    below = 0.15 if made_up else 0.0
    figure, axes = chart(4.2, 1.0 + 0.62 * len(loops) + below, below)
    for at, (kernel, loop) in enumerate(loops):
        _bar(axes, at, kernel, loop)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(loops) - 0.42, -0.62)
    axes.set_yticks([])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlabel("of all tiles")
    axes.spines["left"].set_visible(False)
    _kinds_legend(axes)
    if made_up:
        note(axes, f"{', '.join(made_up)} made up")
    return figure


def _bar(axes: Axes, at: int, kernel: KernelAccount, loop: LoopAccount) -> None:
    tiles, left = loop.tiles, 0.0
    most = "" if loop.exact else ", at most"
    text = f"{', '.join(kernel.stores)} over {', '.join(loop.stream)}{most}: "
    text += ", ".join(
        f"{f'{n:,}' if n < 1e6 else count_text(n)} {kind}"
        for n, kind in ((tiles.full, "full"), (tiles.partial, "partial"), (tiles.empty, "empty"))
    )
    for count, shade in ((tiles.full, SHADES[3]), (tiles.partial, SHADES[2]), (tiles.empty, SHADES[0])):
        share = count / tiles.total if tiles.total else 0.0
        axes.barh(at, share, 0.34, left, color=shade, edgecolor=FAINT, linewidth=0.5)
        left += share
    axes.annotate(text, (0, at - 0.22), (0, 1), textcoords="offset points", fontsize=8, va="bottom")


def _kinds_legend(axes: Axes) -> None:
    from matplotlib.patches import Patch

    shades = (("full", SHADES[3]), ("partial", SHADES[2]), ("empty", SHADES[0]))
    handles = [Patch(facecolor=s, edgecolor=FAINT, linewidth=0.4, label=n) for n, s in shades]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(-0.03, 0.97), ncols=3, handlelength=0.9, handleheight=0.9,
        columnspacing=0.9, handletextpad=0.4, borderaxespad=0.1,
    )  # fmt: skip


def operations_figure(analyses: Sequence[Analysis], lengths: Sequence[int]) -> Figure:
    """Operations over the length: those of live elements, those of visited tiles, and without any mask."""
    programs = [forward(a) for a in analyses]
    figure, axes = chart()
    for (name, style), colour in zip(
        (("dense", ":"), ("executed", "-"), ("useful", "--")), (FAINT, SERIES[0], SERIES[1]), strict=True
    ):
        values = [getattr(p.contractions, name) + getattr(p.pointwise, name) for p in programs]
        axes.plot(lengths, values, style, color=colour, marker="o", markersize=2.5, label=name, linewidth=1.2)
    axes.legend(loc="best")
    _lengths(axes, lengths)
    axes.set_title("operations, contractions and pointwise")
    return figure


def time_figure(analyses: Sequence[Analysis], lengths: Sequence[int]) -> Figure:
    """The least time over the length, on every device of the account."""
    programs = [forward(a) for a in analyses]
    figure, axes = chart()
    for at, first in enumerate(programs[0].rooflines):
        seconds = [next(r.seconds for r in p.rooflines if r.device == first.device) for p in programs]
        axes.plot(
            lengths, seconds, color=SERIES[at % len(SERIES)], marker="o", markersize=2.5, label=first.device,
            linewidth=1.6 if at == 0 else 0.9,
        )  # fmt: skip
    axes.legend(loc="best")
    _lengths(axes, lengths, "s")
    axes.set_title("least time (roofline)")
    return figure


def comparison_figure(series: Sequence[tuple[str, Sequence[int], Sequence[Analysis]]]) -> Figure:
    """The least time of several attentions over the length, on the device of each account."""
    legend_rows = -(-len(series) // 2)
    figure, axes = chart(4.2, 2.9 + 0.17 * legend_rows, below=0.17 * legend_rows)
    styles = ("-", "--", ":", "-.")
    for at, (name, lengths, analyses) in enumerate(series):
        seconds = [forward(a).rooflines[0].seconds for a in analyses]
        axes.plot(
            lengths, seconds, styles[at // len(SERIES) % len(styles)], color=SERIES[at % len(SERIES)], marker="o",
            markersize=2.5, label=name, linewidth=1.2,
        )  # fmt: skip
    axes.legend(loc="upper left", bbox_to_anchor=(-0.1, -0.19), ncols=2, fontsize=7.5, borderaxespad=0)
    _lengths(axes, max((lengths for _, lengths, _ in series), key=len), "s")
    axes.set_title(f"least time on {series[0][2][0].device}")
    return figure


def _lengths(axes: Axes, lengths: Iterable[int], unit: str = "") -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = list(lengths)
    step = 1 if len(ticks) <= 6 else 2
    axes.set_xticks(ticks[::step], [_length(n) for n in ticks[::step]])
    axes.minorticks_off()
    axes.set_xlabel("length")
    _engineering(axes.yaxis, unit)


def _length(number: int) -> str:
    return f"{number // 1024}k" if number >= 1024 and number % 1024 == 0 else str(number)


def _engineering(axis: Any, unit: str = "") -> None:
    from matplotlib.ticker import EngFormatter, NullFormatter

    axis.set_major_formatter(EngFormatter(unit, sep="" if not unit else " "))
    axis.set_minor_formatter(NullFormatter())
