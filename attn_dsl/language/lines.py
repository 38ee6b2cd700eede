"""Part a file into logical statements, so that a mistake in one does not hide those in others.

A statement ends at a newline or ``;`` outside brackets. Each keeps its place: comments become spaces, and
inside ``{ }`` a newline that ends a line becomes ``;``, so that offsets are those of the file.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from attn_dsl.errors import Diagnostic
from attn_dsl.ir.expr import Span

MAX_NESTING = 60
MAX_STATEMENT_TOKENS = 4_000
_CLOSING = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """The text of one statement and where it begins in the file."""

    text: str
    offset: int


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
    lines: list[LogicalLine] = []
    problems: list[Diagnostic] = []
    out: list[str] = []
    start, stack, in_comment, in_string = 0, list[tuple[str, int]](), False, False

    def finish(end: int) -> None:
        nonlocal start
        body = "".join(out)
        if body.strip(" \t\r\f;\n"):
            lead = len(body) - len(body.lstrip())
            lines.append(LogicalLine(body.strip(), start + lead))
        out.clear()
        start = end

    for at, c in enumerate(text):
        if in_comment and c != "\n":
            out.append(" ")
            continue
        in_comment = False
        if c == '"':
            in_string = not in_string
        if c == "\n":
            in_string = False
        if in_string:
            out.append(c)
        elif c == "#":
            in_comment = True
            out.append(" ")
        elif c in "([{":
            stack.append((c, at))
            out.append(c)
            if len(stack) == MAX_NESTING + 1:
                problems.append(
                    Diagnostic(
                        f"brackets nested more than {MAX_NESTING} deep",
                        positions.span(at, at + 1),
                        "name parts of the expression with 'let', 'def' or a tensor",
                    )
                )
                return [], problems
        elif c in ")]}":
            if stack and stack[-1][0] == _CLOSING[c]:
                stack.pop()
                out.append(c)
            else:
                problems.append(
                    Diagnostic(
                        f"'{c}' closes nothing", positions.span(at, at + 1), "remove it, or open it before"
                    )
                )
                out.append(" ")
        elif c == "\n" and stack and _begins_statement(text, at + 1):
            opener, where = stack[-1]
            problems.append(
                Diagnostic(
                    f"'{opener}' is never closed", positions.span(where, where + 1), "close it on this line"
                )
            )
            stack.clear()
            out.clear()
            start = at + 1
        elif c in ";\n" and not stack:
            finish(at + 1)
        elif c == "\n" and stack[-1][0] == "{":
            out.append(";")
        else:
            out.append(c)
    if stack:
        where = stack[-1][1]
        problems.append(
            Diagnostic(f"'{stack[-1][0]}' is never closed", positions.span(where, where + 1), "close it")
        )
    else:
        finish(len(text))
    return lines, problems


_OPENERS = ("attention ", "param ", "input ", "index ", "output ", "mask ", "def ", "import ")


def _begins_statement(text: str, at: int) -> bool:
    """Whether a line can only be a new statement: an unclosed bracket must not swallow the rest of a file."""
    return text.startswith(_OPENERS, at)
