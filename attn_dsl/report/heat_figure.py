"""Figures of tensors: weights as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from attn_dsl.report.figure import note, panels
from attn_dsl.report.mask_figure import in_rows, mark_places, panel_shape
from attn_dsl.report.weights import Heat

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def heat_figure(heats: Sequence[Heat]) -> Figure:
    """Slices of a tensor, all on one scale; what does not exist is left grey."""
    from matplotlib import colormaps

    figure, axes = panels(in_rows([panel_shape(h.values) for h in heats]), right=0.5)
    least, greatest = _limits(heats)
    colours = colormaps["RdBu_r" if least < 0 else "Blues"].with_extremes(bad="#8a94a040")
    for heat, one in zip(heats, axes, strict=True):
        image = one.imshow(
            heat.values, cmap=colours, vmin=least, vmax=greatest, aspect="auto", interpolation="nearest"
        )
        one.set_title(heat.title)
        one.set_ylabel(" ".join(heat.rows))
        one.set_xlabel(" ".join(heat.columns))
        mark_places(one, *heat.values.shape)
        bar = figure.colorbar(image, ax=None, cax=one.inset_axes((1.02, 0, 0.035, 1)))
        bar.outline.set_linewidth(0.4)
        bar.ax.tick_params(labelsize=7)
        absent = "grey: does not exist" if np.isnan(heat.values).any() else ""
        random = f"{', '.join(heat.made_up)} random" if heat.made_up else ""
        note(one, "; ".join(t for t in (absent, random) if t))
    return figure


def _limits(heats: Sequence[Heat]) -> tuple[float, float]:
    """One scale for all: symmetric where there are both signs."""
    finite = np.concatenate([h.values[np.isfinite(h.values)] for h in heats])
    if not finite.size:
        return 0.0, 1.0
    least, greatest = float(finite.min()), float(finite.max())
    if least < 0 < greatest:
        return -max(-least, greatest), max(-least, greatest)
    return least, greatest if greatest > least else least + 1
