"""What a user sees when something is wrong: diagnostics, their rendering, and the exceptions that carry them.

A `Diagnostic` says what is wrong, where, and how to mend it. Every exception of this package derives from
`AttnError` and prints as its rendered diagnostics:

    error: index 'd' stands only on the right of '='
      --> bad.attn:7:16
      |
    7 | S[b,h,i,j] = Q[b,h,i,d] * K[b,h,j,d]
      |                      ^
      = help: '+=' sums over it:  S[b,h,i,j] += Q[b,h,i,d] * K[b,h,j,d]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attn_dsl.ir.expr import Span

_UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"
_WIDEST = 140


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. ``help`` says how to mend it; ``severity`` is ``error`` or ``warning``."""

    message: str
    span: Span | None = None
    help: str = ""
    notes: tuple[str, ...] = ()
    severity: str = "error"

    def summary(self) -> str:
        """In half a sentence: ``line 4, because ...``."""
        at = "" if self.span is None else f"line {self.span.line}, "
        return f"{at}because {self.message.removeprefix('no gradient: ')}"

    def render(self, sources: Mapping[str, str]) -> str:
        """The diagnostic as plain text; ``sources`` maps a file's name to its text."""
        lines = [f"{self.severity}: {self.message}"]
        gutter = ""
        if self.span is not None:
            gutter = " " * len(str(self.span.line))
            lines += _excerpt(self.span, sources.get(self.span.file), gutter)
        lines += [f"{gutter} = note: {note}" for note in self.notes]
        if self.help:
            lines.append(f"{gutter} = help: {self.help}")
        return shown("\n".join(lines))


def shown(text: str) -> str:
    """A text as a terminal may have it: what a file or a path brings along cannot move its cursor."""
    return "".join(c if c.isprintable() or c in "\n\t" else _UNPRINTABLE for c in text)


def _excerpt(span: Span, text: str | None, gutter: str) -> list[str]:
    head = f"{gutter}--> {span.file}:{span.line}:{span.column}"
    rows = text.split("\n") if text is not None else []
    if not 1 <= span.line <= len(rows) or not rows[span.line - 1]:
        return [head]
    row = shown(rows[span.line - 1])
    start = span.column - 1
    end = span.end_column - 1 if span.end_line == span.line else len(row)
    row, shift = _window(row.rstrip(_UNPRINTABLE + " "), start)
    start, end = start - shift, min(end - shift, max(len(row), start - shift + 1))
    # Tabs are kept in the underline, so that it stands under the span at any tab width.
    pad = "".join("\t" if c == "\t" else " " for c in row[:start]).ljust(start)
    return [head, f"{gutter} |", f"{span.line} | {row}", f"{gutter} | {pad}{'^' * max(1, end - start)}"]


def _window(row: str, start: int) -> tuple[str, int]:
    """The part of a very long line around a column, and how far it is shifted to the left."""
    if len(row) <= _WIDEST:
        return row, 0
    first = max(0, min(start - _WIDEST // 2, len(row) - _WIDEST))
    last = first + _WIDEST
    before, after = "…" if first else "", "…" if last < len(row) else ""
    return before + row[first:last] + after, first - len(before)


class AttnError(Exception):
    """Base of every error of this package; ``str(error)`` is what the user should read."""

    def __init__(
        self, diagnostics: Diagnostic | Sequence[Diagnostic] | str, sources: Mapping[str, str] | None = None
    ) -> None:
        if isinstance(diagnostics, str):
            diagnostics = Diagnostic(diagnostics)
        if isinstance(diagnostics, Diagnostic):
            diagnostics = (diagnostics,)
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        self.sources: dict[str, str] = dict(sources or {})
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return "\n\n".join(d.render(self.sources) for d in self.diagnostics)

    def __repr__(self) -> str:  # torch.compile shows this of an error it met while tracing
        return f"{type(self).__name__}({self})"


class LanguageError(AttnError):
    """A file that is not a legal ``.attn`` text."""


class ArgumentError(AttnError):
    """A call whose params, shapes, dtypes or devices do not fit the file."""


class NotLoweredError(AttnError):
    """A legal mechanism that the chosen target cannot generate yet; names the statement."""


class CacheError(AttnError):
    """A cache directory that cannot be used."""


class TargetError(AttnError):
    """A target that is unknown, or whose compiler is missing or refused."""
