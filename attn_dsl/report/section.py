"""What a page says of one attention: collected here, laid out by the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from attn_dsl.account.analysis import Request, analyse
from attn_dsl.account.model import Analysis, KernelAccount, MaskAccount
from attn_dsl.codegen import generate
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.errors import ArgumentError, NotLoweredError
from attn_dsl.language.load import Specification
from attn_dsl.planning import plan
from attn_dsl.report.cost_figure import histogram_figure, operations_figure, roofline_figure, time_figure
from attn_dsl.report.costs import Costed, account_at, over_lengths
from attn_dsl.report.diagram import Diagram, diagram
from attn_dsl.report.figure import Draw, inline_svg
from attn_dsl.report.heat_figure import heat_figure
from attn_dsl.report.highlight import highlight
from attn_dsl.report.mask_figure import part_figures
from attn_dsl.report.masks import MaskMap, MaskRequest, mask_maps
from attn_dsl.report.weights import tensor_heat
from attn_dsl.runtime.ahead_of_time import KernelResources
from attn_dsl.runtime.typical import typical_sizes

LENGTHS = (1024, 2048, 4096, 8192, 16384, 32768, 65536)
MOST_MASKS = 4
ARCHITECTURES = {"triton": "cuda:90", "cpu": "cpu"}


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing with what is to be said under it."""

    svg: Markup
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """One attention of a page. ``obstacle``: why it becomes no kernel, in which case what follows is empty;
    ``at``: the account at the sizes asked for; ``costs``: over ``lengths``; ``sources``: generated code by
    target; ``resources``: of kernels compiled ahead of time, where that was asked for."""

    number: int
    name: str
    path: str
    text: Markup
    params: Mapping[str, int | float | bool]
    graph: Diagram
    obstacle: str = ""
    formulas: tuple[MaskAccount, ...] = ()
    masks: tuple[Figure, ...] = ()
    weights: tuple[Figure, ...] = ()
    at: Costed | None = None
    lengths: tuple[int, ...] = ()
    costs: tuple[Costed, ...] = ()
    cost_figures: tuple[Figure, ...] = ()
    sources: Mapping[str, Markup] | None = None
    resources: tuple[KernelResources, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def kernels(self) -> tuple[KernelAccount, ...]:
        """The launches of the forward pass."""
        return () if self.at is None or self.at.analysis.forward is None else self.at.analysis.forward.kernels


class Drawing:
    """The figures of a page, each with a number of its own."""

    def __init__(self) -> None:
        self.number = 0

    def figure(self, draw: Draw, caption: str = "") -> Figure:
        """One more."""
        self.number += 1
        return Figure(Markup(inline_svg(draw, self.number)), caption)


def section(
    number: int, path: str, specification: Specification, request: MaskRequest, drawing: Drawing,
    resources: Sequence[KernelResources],
) -> Section:  # fmt: skip
    """Everything about one attention. ArgumentError where a request does not fit it."""
    cascade = specification.cascade
    text = highlight(specification.sources.get(path, ""), "attn")
    plain = Section(number, cascade.name, path, text, request.params, diagram(cascade))
    try:
        at = account_at(request)
    except NotLoweredError as error:
        told = "\n\n".join(d.render(specification.sources) for d in error.diagnostics)
        return replace(plain, obstacle=told, weights=_weights(request, drawing))
    costs, notes = _over_lengths(request)
    lengths = LENGTHS[: len(costs)]
    return replace(
        plain, formulas=_formulas(request), masks=_masks(request, drawing), weights=_weights(request, drawing),
        at=at, lengths=lengths, costs=costs, cost_figures=_cost_figures(at, costs, lengths, drawing),
        sources={target: _source(request, target) for target in ARCHITECTURES}, resources=tuple(resources),
        notes=notes,
    )  # fmt: skip


def _formulas(request: MaskRequest) -> tuple[MaskAccount, ...]:
    found = analyse(Request(request.cascade, request.params, {}, request.dtype, request.device))
    return found.masks


def _masks(request: MaskRequest, drawing: Drawing) -> tuple[Figure, ...]:
    try:
        maps = mask_maps(replace(request, sizes=_of_picture(request)))
    except ArgumentError as error:
        if "pairs to draw" not in str(error):
            raise
        return ()
    figures: list[Figure] = []
    for mask in maps[:MOST_MASKS]:
        first, *others = part_figures(mask)
        figures.append(drawing.figure(first, _mask_caption(mask)))
        figures += [drawing.figure(other) for other in others]
    return tuple(figures)


def _of_picture(request: MaskRequest) -> dict[str, int]:
    """Sizes that a page fixes, where they fit a picture; lengths of a page may be far longer than what can be
    drawn."""
    return {n: v for n, v in request.sizes.items() if v <= 2048}


def _mask_caption(mask: MaskMap) -> str:
    tiles = mask.tiles
    made_up = f" {', '.join(tiles.made_up)} made up." if tiles.made_up else ""
    sizes = ", ".join(f"{n} = {tiles.sizes[n]}" for n in (*tiles.rows, *tiles.streams))
    return f"Live where {tiles.predicate}; {sizes}.{made_up}"


def _weights(request: MaskRequest, drawing: Drawing) -> tuple[Figure, ...]:
    try:
        heats = tensor_heat(replace(request, sizes={}), None)
    except ArgumentError:
        return ()  # no statement spans rows and keys
    (first, *_) = heats
    caption = f"{first.title} on random input, by the reference."
    return (drawing.figure(lambda: heat_figure((first,)), caption),)


def _over_lengths(request: MaskRequest) -> tuple[tuple[Costed, ...], tuple[str, ...]]:
    """The account at growing lengths; with the reason where it ends early."""
    found: list[Costed] = []
    for length in LENGTHS:
        try:
            found += over_lengths(request, (length,))
        except ArgumentError as error:
            reason = error.diagnostics[0].message
            return tuple(found), (f"lengths from {length:,} on are left out: {reason}",)
    return tuple(found), ()


def _cost_figures(
    at: Costed, costs: tuple[Costed, ...], lengths: Sequence[int], drawing: Drawing
) -> tuple[Figure, ...]:
    analyses = [c.analysis for c in costs]
    figures = (
        [drawing.figure(lambda: histogram_figure(at.analysis, at.made_up))] if _has_loops(at.analysis) else []
    )
    if len(analyses) > 1:
        figures.append(drawing.figure(lambda: operations_figure(analyses, lengths)))
        figures.append(drawing.figure(lambda: time_figure(analyses, lengths)))
        labels = [f"{n // 1024}k" for n in lengths]
        if all(a.forward is not None and a.forward.contractions.executed for a in analyses):
            figures.append(drawing.figure(lambda: roofline_figure(analyses, labels)))
    return tuple(figures)


def _has_loops(analysis: Analysis) -> bool:
    return analysis.forward is not None and any(k.loops for k in analysis.forward.kernels)


def _source(request: MaskRequest, target: str) -> Markup:
    cascade = request.cascade
    dtype = "f32" if target == "cpu" else "bf16"
    planned = plan(cascade, request.params, sizes=request.sizes)
    known = {n: v for n, v in request.sizes.items() if n in planned.whole}
    specialisation = Specialisation(
        dtypes=tuple((i.name, i.dtype or dtype) for i in cascade.inputs),
        sizes=typical_sizes(cascade, request.params, planned.whole, known), architecture=ARCHITECTURES[target],
    )  # fmt: skip
    return highlight(generate(planned, specialisation).source, target)
