"""``page``: one HTML file about one attention or several, which needs nothing beside itself to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from attn_dsl.account.text import bytes_text, count_text, time_text
from attn_dsl.language.load import Specification
from attn_dsl.report.comparison import compare
from attn_dsl.report.costs import distinct_loops
from attn_dsl.report.masks import MaskRequest, present_in_words
from attn_dsl.report.section import Drawing, section
from attn_dsl.runtime.ahead_of_time import KernelResources
from attn_dsl.version import __version__


@dataclass(frozen=True, slots=True)
class Subject:
    """One attention of a page, at the sizes of its request."""

    path: str
    specification: Specification
    request: MaskRequest
    resources: Sequence[KernelResources] = ()


def page(subjects: Sequence[Subject]) -> str:
    """The page, with a comparison on top where there are several. ArgumentError where a request does not fit
    its file; what becomes no kernel yet has a section that says why."""
    drawing = Drawing()
    sections = [
        section(n, s.path, s.specification, s.request, drawing, s.resources)
        for n, s in enumerate(subjects, 1)
    ]
    names = ", ".join(s.name for s in sections)
    return _template().render(
        title=names if len(sections) <= 3 else f"{len(sections)} attentions", sections=sections,
        comparison=compare(sections, drawing) if len(sections) > 1 else None, version=__version__,
    )  # fmt: skip


def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("attn_dsl", "templates"), undefined=StrictUndefined, autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    filters: dict[str, Any] = {
        "loops": distinct_loops, "words": present_in_words, "count": count_text, "bytes": bytes_text, "time": time_text,
        "percent": _percent,
    }  # fmt: skip
    environment.filters.update(filters)
    return environment.get_template("report/page.html.j2")


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"
