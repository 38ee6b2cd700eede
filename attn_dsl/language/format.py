"""The canonical layout of a file: its own tokens and comments, with spaces and line breaks of one style.

    S[b,h,i,j] += Q[b,h,i,d] * K[b,h,j,d]
    X[b,h,i,j]  = S[b,h,i,j] / sqrt(size(d))  where causal(i, j)  # neighbours' '=' share a column

Line breaks are the author's: a statement broken inside brackets stays broken, indented by its depth; blank
lines are kept, one at a time. Formatting twice changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import groupby

from attn_dsl.errors import LanguageError
from attn_dsl.language.parse import parse

_TOKEN = re.compile(
    r"""(?P<comment>\#.*)
    | (?P<string>"[^"]*")
    | (?P<number>[0-9]+\.[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+(?:[eE][+-]?[0-9]+)?)
    | (?P<reduce>(?:max|min|mean|any|all|\+|\*)?=(?!=))
    | (?P<word>[A-Za-z][A-Za-z0-9_]*)
    | (?P<operator>\*\*|//|<<|>>|<=|>=|==|!=|[-+*/%&|^<>])
    | (?P<mark>[()\[\]{},:;_])""",
    re.VERBOSE,
)
_CLOSING = frozenset({")", "]", "}"})
_INFIX_WORDS = frozenset({"and", "or", "not", "in", "if", "else", "where", "return"})
_DECLARATIONS = frozenset({"param", "input", "output", "index", "let", "mask", "def"})
_ALIGNED = frozenset({"let", "mask", "def", "assignment"})
_INDENT = "    "
_MAX_PUSH = 12


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    sign: bool = False


@dataclass(slots=True)
class _Row:
    """One line of the result: a gap before every token. ``stack``: the brackets open where it begins.
    ``aligned``: what kind of statement it is and which token is its '=', where neighbours align."""

    tokens: list[_Token]
    stack: tuple[str, ...]
    comment: str
    gaps: list[str] = field(default_factory=list[str])
    aligned: tuple[str, int] | None = None

    def text(self) -> str:
        """The finished line."""
        leading = next((n for n, t in enumerate(self.tokens) if t.text not in _CLOSING), len(self.tokens))
        code = self.before(len(self.tokens))
        body = f"{code}  {self.comment}" if code and self.comment else code or self.comment
        return _INDENT * (len(self.stack) - leading) + body if body else ""

    def before(self, count: int) -> str:
        """The first tokens with their gaps."""
        return "".join(gap + t.text for gap, t in zip(self.gaps[:count], self.tokens[:count], strict=True))


def format_text(text: str, file: str = "<text>") -> str:
    """The text in canonical layout. LanguageError where it cannot be parsed."""
    _, problems = parse(text, file)
    if problems:
        raise LanguageError(problems, {file: text})
    rows = _rows(re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")))
    for _, run in groupby(rows, key=lambda row: (row.aligned[0], row.stack) if row.aligned else id(row)):
        _align(list(run))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(row.text() for row in rows)).strip("\n") + "\n"


def _rows(lines: list[str]) -> list[_Row]:
    rows: list[_Row] = []
    layout = _Layout()
    for line in lines:
        tokens = [_Token(str(m.lastgroup), m.group()) for m in _TOKEN.finditer(line)]
        comment = tokens.pop().text.rstrip() if tokens and tokens[-1].kind == "comment" else ""
        rows.append(layout.row(_without_idle_semicolons(tokens), comment))
    return rows


def _plain_list(tokens: list[_Token]) -> bool:
    """Whether the index list that begins here has only names and numbers: ``[b,h,i]``, not ``[b, i + 1]``."""
    for token in tokens:
        if token.text == "]":
            return True
        if token.kind not in ("word", "number") and token.text not in (",", ":"):
            return False
    return False


def _without_idle_semicolons(tokens: list[_Token]) -> list[_Token]:
    """A ``;`` that parts nothing from nothing is dropped."""
    kept: list[_Token] = []
    for at, token in enumerate(tokens):
        if token.text == ";":
            follows = next((t.text for t in tokens[at + 1 :] if t.text != ";"), None)
            if not kept or kept[-1].text in (";", "{") or follows in (None, "}"):
                continue
        kept.append(token)
    return kept


class _Layout:
    """Walks the tokens of a file: knows the open brackets and the statement a token belongs to."""

    def __init__(self) -> None:
        self.stack: list[str] = []
        self.previous: _Token | None = None
        self.statement = ""
        self.tight = False

    def row(self, tokens: list[_Token], comment: str) -> _Row:
        """Lay out one line."""
        row = _Row([], tuple(self.stack), comment)
        if all(bracket == "{" for bracket in self.stack):
            self.previous = None
        statements, equals = 0, None
        for at, token in enumerate(tokens):
            if self.previous is None or self.previous.text in (";", "{"):
                self.statement = _statement(tokens[at : at + 2])
                statements += 1
            token = _Token(token.kind, token.text, self._is_sign(token))
            row.gaps.append(self._gap(token) if row.tokens else "")
            row.tokens.append(token)
            self._bracket(token, tokens[at + 1 :])
            if token.kind == "reduce" and len(self.stack) == len(row.stack) and equals is None:
                equals = at
            self.previous = token
        if statements == 1 and equals and tuple(self.stack) == row.stack and self.statement in _ALIGNED:
            row.aligned = (self.statement, equals)
        return row

    def _bracket(self, token: _Token, rest: list[_Token]) -> None:
        if token.text in ("(", "[", "{"):
            self.stack.append(token.text)
            self.tight = token.text == "[" and self.statement not in ("input", "output") and _plain_list(rest)
        elif token.text in _CLOSING:
            self.stack.pop()
            self.tight = False

    def _is_sign(self, token: _Token) -> bool:
        """Whether '+' or '-' has no left operand."""
        before = self.previous
        if token.text not in ("+", "-"):
            return False
        return (
            before is None
            or before.kind in ("operator", "reduce")
            or before.text in _INFIX_WORDS
            or (before.kind == "mark" and before.text not in _CLOSING)
        )

    def _gap(self, token: _Token) -> str:
        """The space between a token and the one before it."""
        before = self.previous
        assert before is not None
        inner = self.stack[-1] if self.stack else ""
        if before.text in ("(", "[") or before.sign or token.text in (")", "]", ",", ";", ":"):
            return ""
        if before.text in (",", ":"):
            return "" if self.tight else " "
        if inner == "[" and "reduce" in (token.kind, before.kind):
            return ""  # h=(g r)
        if token.text in ("(", "[") and (before.text == "]" or before.kind == "word"):
            return " " if before.text in _INFIX_WORDS else ""
        return "  " if token.text == "where" else " "


def _statement(first: list[_Token]) -> str:
    """The declaring word a statement begins with, else ``assignment``."""
    word = first[0].text
    declares = word in _DECLARATIONS and len(first) == 2 and first[1].kind == "word"
    return word if declares else "assignment"


def _align(run: list[_Row]) -> None:
    """Put the '=' of neighbouring statements in one column, beginning anew where one would go far out."""
    places = [(row, row.aligned[1]) for row in run if row.aligned]
    widths = [len(row.before(at)) + len(row.tokens[at].text) for row, at in places]
    start = 0
    for end in range(1, len(widths) + 1):
        if end < len(widths) and _spread(widths[start : end + 1]) <= _MAX_PUSH:
            continue
        for (row, at), width in zip(places[start:end], widths[start:end], strict=True):
            row.gaps[at] = " " * (max(widths[start:end]) + 1 - width)
        start = end


def _spread(widths: list[int]) -> int:
    return max(widths) - min(widths)
