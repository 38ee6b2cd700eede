"""What commands print: colour on a terminal, plain text in a pipe, JSON on demand."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from attn_dsl.errors import AttnError, Diagnostic

_COLOURS = {"error": "red", "warning": "yellow"}


def say(text: str = "", *, style: str | None = None, err: bool = False) -> None:
    """A line of text; a style is dropped where the stream is no terminal."""
    from rich.console import Console
    from rich.text import Text

    stream = sys.stderr if err else sys.stdout
    Console(file=stream, highlight=False, soft_wrap=True).print(Text(text, style=style or ""))


@contextmanager
def working(text: str) -> Generator[None]:
    """A spinner beside a text while something takes its time; nothing where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def say_json(data: Mapping[str, Any]) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(data, indent=2, sort_keys=False))


def print_diagnostic(diagnostic: Diagnostic, sources: Mapping[str, str], *, err: bool = False) -> None:
    """A rendered diagnostic: its heading, underline and help stand out on a terminal."""
    colour = _COLOURS.get(diagnostic.severity, "red")
    for number, line in enumerate(diagnostic.render(sources).splitlines()):
        say(line, style=_line_style(line, number, colour), err=err)


def _line_style(line: str, number: int, colour: str) -> str | None:
    stripped = line.strip()
    if number == 0:
        return f"bold {colour}"
    if stripped.startswith("= help:"):
        return "cyan"
    if stripped.startswith("|") and stripped.endswith("^"):
        return colour
    return None


def print_error(error: AttnError) -> None:
    """All diagnostics of an error, on standard error."""
    for number, diagnostic in enumerate(error.diagnostics):
        if number:
            say(err=True)
        print_diagnostic(diagnostic, error.sources, err=True)


def diagnostic_data(diagnostic: Diagnostic) -> dict[str, Any]:
    """A diagnostic for JSON."""
    span = diagnostic.span
    place = None
    if span is not None:
        place = {
            "file": span.file,
            "line": span.line,
            "column": span.column,
            "end_line": span.end_line,
            "end_column": span.end_column,
        }
    return {
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "place": place,
        "help": diagnostic.help,
        "notes": list(diagnostic.notes),
    }


def plural(count: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
