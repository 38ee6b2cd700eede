"""Several attentions side by side, at the sizes that each was accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attn_dsl.account.model import ProgramAccount
from attn_dsl.report.cost_figure import comparison_figure
from attn_dsl.report.costs import distinct_loops
from attn_dsl.report.section import Drawing, Figure, Section


@dataclass(frozen=True, slots=True)
class Row:
    """One attention. ``program`` None: it becomes no kernel. ``live`` and ``visited``: shares of the pairs
    and tiles of all loops, from 0 to 1; ``passes``: of the kernel with most."""

    number: int
    name: str
    program: ProgramAccount | None
    live: float = 0.0
    visited: float = 0.0
    passes: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """The table, and figures over lengths. ``sizes``: those that all have in common."""

    rows: tuple[Row, ...]
    sizes: tuple[tuple[str, int], ...]
    figures: tuple[Figure, ...]


def compare(sections: Sequence[Section], drawing: Drawing) -> Comparison:
    """The rows in the order of the sections."""
    accounted = [s for s in sections if s.at is not None]
    common = [set(s.at.analysis.sizes.items()) for s in accounted if s.at is not None]
    shared = set.intersection(*common) if common else set[tuple[str, int]]()
    figures: list[Figure] = []
    series = [(s.name, s.lengths, [c.analysis for c in s.costs]) for s in accounted if len(s.costs) > 1]
    if len(series) > 1:
        figures.append(drawing.figure(lambda: comparison_figure(series)))
    return Comparison(tuple(map(_row, sections)), tuple(sorted(shared)), tuple(figures))


def _row(section: Section) -> Row:
    program = None if section.at is None else section.at.analysis.forward
    if program is None:
        return Row(section.number, section.name, None)
    loops = [loop for kernel in program.kernels for loop in distinct_loops(kernel)]
    live, pairs = sum(x.live.high for x in loops), sum(x.live.total for x in loops)
    visited, tiles = sum(x.tiles.visited for x in loops), sum(x.tiles.total for x in loops)
    passes = max((k.passes.count for k in program.kernels), default=0)
    return Row(
        section.number,
        section.name,
        program,
        live / pairs if pairs else 1.0,
        visited / tiles if tiles else 1.0,
        passes,
    )
