"""Part a file into logical statements, so that a mistake in one does not hide those in others.

A statement ends at a newline or ``;`` outside brackets. Each keeps its place: comments become spaces, and
inside ``{ }`` a newline that ends a line becomes ``;``, so that offsets are those of the file.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from attn_dsl.errors import Diagnostic
from attn_dsl.ir.expr import Span

MAX_NESTING = 110
_BLANK = " \t\r\f\n"
_CLOSING = {")": "(", "]": "[", "}": "{"}
_CHUNK = re.compile(r'#[^\n]*|"[^"\n]*"?|[()\[\]{};\n]|[^#"()\[\]{};\n]+')

# What can only begin a statement, at the start of a line: an unclosed bracket must not swallow the rest.
_DECLARATION = re.compile(r"(attention|param|input|index|output|mask|def|import)[ \t]")
_ASSIGNMENT = re.compile(r"[A-Za-z]\w*\[[^\]\n]*\][ \t]*(\+|\*|max|min|mean|any|all)?=(?!=)")


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """The text of one statement and where it begins in the file; ``broken``: its brackets do not match."""

    text: str
    offset: int
    broken: bool = False


class Positions:
    """Offsets to spans in one file."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._starts = [0] + [i + 1 for i, c in enumerate(text) if c == "\n"]

    def span(self, start: int, end: int) -> Span:
        """The span of ``text[start:end]``."""
        (line, column), (end_line, end_column) = self._place(start), self._place(max(end, start))
        return Span(self.file, line, column, end_line, end_column)

    def _place(self, offset: int) -> tuple[int, int]:
        row = bisect_right(self._starts, offset) - 1
        return row + 1, offset - self._starts[row] + 1


def logical_lines(text: str, positions: Positions) -> tuple[list[LogicalLine], list[Diagnostic]]:
    """The statements of a file, and what is wrong with its brackets."""
    parting = _Parting(text, positions)
    for chunk in _CHUNK.finditer(text):
        if not parting.take(chunk.group(), chunk.start()):
            break
    parting.end()
    return parting.lines, parting.problems


class _Parting:
    """Walks a file: ``stack`` holds the open brackets with their places, ``out`` the statement so far."""

    def __init__(self, text: str, positions: Positions) -> None:
        self.lines: list[LogicalLine] = []
        self.problems: list[Diagnostic] = []
        self._text, self._positions = text, positions
        self._out: list[str] = []
        self._stack: list[tuple[str, int]] = []
        self._start, self._broken = 0, False

    def take(self, chunk: str, at: int) -> bool:
        """One comment, string, bracket, separator or stretch of other text; False to give up the file."""
        match chunk[0]:
            case "(" | "[" | "{":
                self._stack.append((chunk, at))
                self._out.append(chunk)
                return self._shallow(at)
            case ")" | "]" | "}":
                self._close(chunk, at)
            case "\n" | ";" if not self._stack:
                self._finish(at + 1)
            case "\n" if self._next_line_is_a_statement(at + 1):
                self._never_closed()
                self._finish(at + 1)
            case "\n" if self._stack[-1][0] == "{":
                self._out.append(";")
            case "#":
                self._out.append(" " * len(chunk))
            case _:
                self._out.append(chunk)
        return True

    def end(self) -> None:
        """The end of the file."""
        if self._stack:
            self._never_closed()
        self._finish(len(self._text))

    def _close(self, bracket: str, at: int) -> None:
        opener = self._stack.pop()[0] if self._stack else ""
        if opener != _CLOSING[bracket]:
            what = f"does not close '{opener}'" if opener else "closes nothing"
            help = (
                f"'{opener}' is closed by '{_closer(opener)}'" if opener else "remove it, or open it before"
            )
            self._problem(f"'{bracket}' {what}", at, help)
        self._out.append(bracket)

    def _never_closed(self) -> None:
        opener, where = self._stack[-1]
        self._stack.clear()
        self._problem(f"'{opener}' is never closed", where, f"close it with '{_closer(opener)}'")

    def _shallow(self, at: int) -> bool:
        if len(self._stack) <= MAX_NESTING:
            return True
        self._stack.clear()
        self._out.append(self._text[at + 1 :])
        self._problem(f"brackets nested more than {MAX_NESTING} deep", at,
                      "name parts of the expression with 'let', 'def' or a tensor")  # fmt: skip
        return False

    def _problem(self, message: str, at: int, help: str) -> None:
        self._broken = True
        self.problems.append(Diagnostic(message, self._positions.span(at, at + 1), help))

    def _next_line_is_a_statement(self, at: int) -> bool:
        if _DECLARATION.match(self._text, at):
            return True
        in_body = any(bracket == "{" for bracket, _ in self._stack)
        return not in_body and _ASSIGNMENT.match(self._text, at) is not None

    def _finish(self, end: int) -> None:
        body = "".join(self._out)
        if body.strip(_BLANK + ";"):
            lead = len(body) - len(body.lstrip(_BLANK))
            self.lines.append(LogicalLine(body.strip(_BLANK), self._start + lead, self._broken))
        self._out.clear()
        self._start, self._broken = end, False


def _closer(opener: str) -> str:
    return next(closer for closer, of in _CLOSING.items() if of == opener)
