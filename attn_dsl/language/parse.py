"""Text to syntax tree: lark parses each logical statement; a mistake becomes a diagnostic in our words."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from typing import Any

from attn_dsl.errors import Diagnostic
from attn_dsl.ir.expr import Span
from attn_dsl.language.bounds import MAX_DEPTH
from attn_dsl.language.hints import FORMS, Stop, begins_nothing, help_for, help_for_character
from attn_dsl.language.lines import LogicalLine, Positions, logical_lines
from attn_dsl.language.syntax import Line, Unread
from attn_dsl.language.tree import TreeBuilder

# An integer fits 64 bits; a real has room for the shortest text that gives any double back.
_LONGEST = {"INT": 18, "FLOAT": 32}
_LONGEST_NAME = 64
_MAX_TOKENS = 20_000
_PARTS = "name parts of it with 'let', 'def' or a tensor"
_NO_LEVEL = frozenset({"over_list", "member", "target", "slot"})

_SpanOf = Callable[[int, int], Span]


@lru_cache(maxsize=1)
def _grammar() -> Any:
    from lark import Lark

    text = (files("attn_dsl") / "grammar" / "attn.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", propagate_positions=True, maybe_placeholders=True)


@lru_cache(maxsize=1)
def _lexer() -> Any:
    """The tokens alone; of a parser, lark builds the lexer anew for each text."""
    from lark import Lark

    text = (files("attn_dsl") / "grammar" / "attn.lark").read_text(encoding="utf-8")
    return Lark(text, parser=None, lexer="basic")


def plain_text(text: str) -> str:
    """The text without a byte order mark, with plain line ends; columns are kept."""
    return text.removeprefix("\ufeff").replace("\r\n", " \n").replace("\r", "\n")


def parse(text: str, file: str) -> tuple[list[Line], list[Diagnostic]]:
    """The statements of a file in order, and everything wrong with its form."""
    text = plain_text(text)
    positions = Positions(file, text)
    lines, problems = logical_lines(text, positions)
    parsed: list[Line] = []
    for line in lines:
        statement = None if line.broken else _parse_line(line, positions)
        if isinstance(statement, Diagnostic):
            problems.append(statement)
        if statement is None or isinstance(statement, Diagnostic):
            statement = _unread(line, positions)
        parsed.append(statement)
    return parsed, problems


def _unread(line: LogicalLine, positions: Positions) -> Unread:
    """What a statement may have defined: the names of a declaration, or the word it begins with."""
    words = re.findall(r"[A-Za-z]\w*", line.text)
    several = line.broken or words[:1] in (["input"], ["output"])
    names = words if several else words[: 2 if words[:1] and words[0] in FORMS else 1]
    return Unread(frozenset(names), positions.span(line.offset, line.offset + len(line.text)))


def _parse_line(line: LogicalLine, positions: Positions) -> Line | Diagnostic:
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken

    def span(start: int, end: int) -> Span:
        return positions.span(line.offset + start, line.offset + end)

    grammar = _grammar()
    try:
        problem = _too_large(list(_lexer().lex(line.text)), span)
        if problem is not None:
            return problem
        tree = grammar.parse(line.text)
    except UnexpectedToken as error:
        return _unexpected_token(error, line, span)
    except UnexpectedCharacters as error:
        at = error.pos_in_stream or 0
        character = line.text[at : at + 1]
        help = help_for_character(character, line.text, at)
        return Diagnostic(f"{character!r} is not a character of the language", span(at, at + 1), help)
    deepest = _deeper_than(tree, MAX_DEPTH)
    if deepest is not None:
        start, end = deepest.meta.start_pos, deepest.meta.end_pos
        return Diagnostic(f"more than {MAX_DEPTH} operators inside one another", span(start, end), _PARTS)
    return TreeBuilder(span).line(tree.children[0])


def _too_large(tokens: list[Any], span: _SpanOf) -> Diagnostic | None:
    if len(tokens) > _MAX_TOKENS:
        return Diagnostic(
            f"this statement has {len(tokens)} tokens; at most {_MAX_TOKENS} are read", span(0, 1), _PARTS
        )
    for token in tokens:
        where = span(token.start_pos, token.end_pos)
        if len(token) > _LONGEST.get(token.type, len(token)):
            message = f"the number has {len(token)} digits; at most {_LONGEST[token.type]} are read"
            return Diagnostic(message, where, "write it in powers: 1e30")
        if token.type == "NAME" and len(token) > _LONGEST_NAME:
            return Diagnostic(f"a name has at most {_LONGEST_NAME} characters", where, "shorten it")
    return None


def _deeper_than(tree: Any, bound: int) -> Any:
    """A node that stands deeper than the bound allows, or None. Every later stage walks recursively."""
    stack = [(tree, -1)]
    while stack:
        node, depth = stack.pop()
        # A chain of comparisons is flat as written and nests when it becomes a conjunction.
        if depth + (len(node.children) // 2 if node.data == "compare" else 0) > bound:
            return node
        stack += [
            (child, depth + (child.data not in _NO_LEVEL))
            for child in node.children
            if hasattr(child, "data")
        ]
    return None


def _unexpected_token(error: Any, line: LogicalLine, span: _SpanOf) -> Diagnostic:
    token = error.token
    ended = token.type == "$END"
    at = len(line.text) if ended else token.start_pos
    stop = Stop("" if ended else str(token), at, frozenset(error.accepts or error.expected), line.text)
    if ended:
        return Diagnostic("the statement ends too early", span(at - 1, at), help_for(stop))
    keyword = begins_nothing(stop)
    if keyword is not None:
        word = stop.first_word
        return Diagnostic(f"'{word}' begins no statement", span(0, len(word)), keyword)
    return Diagnostic(f"'{token}' cannot stand here", span(at, token.end_pos), help_for(stop))
