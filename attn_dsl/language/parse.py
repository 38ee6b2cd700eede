"""Text to syntax tree: lark parses each logical statement; a mistake becomes a diagnostic in our words."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any

from attn_dsl.errors import Diagnostic
from attn_dsl.ir.expr import Span
from attn_dsl.language.lines import MAX_STATEMENT_TOKENS, LogicalLine, Positions, logical_lines
from attn_dsl.language.syntax import Line
from attn_dsl.language.tree import TreeBuilder

# An integer fits 64 bits; a real has room for the shortest text that gives any double back.
_LONGEST = {"INT": 18, "FLOAT": 32}
MAX_CHAIN = 150


@lru_cache(maxsize=1)
def _grammar() -> Any:
    from lark import Lark

    text = (files("attn_dsl") / "grammar" / "attn.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", propagate_positions=True, maybe_placeholders=True)


def parse(text: str, file: str) -> tuple[list[Line], list[Diagnostic]]:
    """The statements of a file in order, and everything wrong with its form."""
    text = text.replace("\r\n", " \n").replace("\r", "\n").removeprefix("\ufeff")
    positions = Positions(file, text)
    lines, problems = logical_lines(text, positions)
    parsed: list[Line] = []
    for line in lines:
        statement = _parse_line(line, positions)
        if isinstance(statement, Diagnostic):
            problems.append(statement)
        else:
            parsed.append(statement)
    return parsed, problems


def _parse_line(line: LogicalLine, positions: Positions) -> Line | Diagnostic:
    from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

    def span(start: int, end: int) -> Span:
        return positions.span(line.offset + start, line.offset + end)

    grammar = _grammar()
    try:
        tokens = list(grammar.lex(line.text, dont_ignore=False))
        problem = _too_large(tokens, span)
        if problem is not None:
            return problem
        tree = grammar.parse(line.text)
        return TreeBuilder(span).line(tree.children[0])
    except UnexpectedToken as error:
        return _unexpected_token(error, line, span)
    except UnexpectedCharacters as error:
        at = error.pos_in_stream or 0
        character = line.text[at : at + 1]
        return Diagnostic(
            f"{character!r} is not a character of the language", span(at, at + 1), _character_help(character)
        )
    except UnexpectedInput as error:
        return Diagnostic(
            "this statement is not complete", span(0, len(line.text)), str(type(error).__name__)
        )


def _too_large(tokens: list[Any], span: Any) -> Diagnostic | None:
    if len(tokens) > MAX_STATEMENT_TOKENS:
        return Diagnostic(
            f"this statement has {len(tokens)} tokens; at most {MAX_STATEMENT_TOKENS} are read",
            span(0, 1),
            "name parts of it with 'let', 'def' or a tensor",
        )
    chain = 0
    for token in tokens:
        if len(str(token)) > _LONGEST.get(token.type, len(token)):
            return Diagnostic(
                f"the number has {len(str(token))} digits; at most {_LONGEST[token.type]} are read",
                span(token.start_pos, token.end_pos),
                "write it in powers: 1e30",
            )
        if token.type == "NAME" and len(str(token)) > 64:
            return Diagnostic(
                "a name has at most 64 characters", span(token.start_pos, token.end_pos), "shorten it"
            )
        operator = token.type in ("SUM", "TERM", "POWER", "SHIFT", "BIT_AND", "BIT_OR", "BIT_XOR")
        chain += operator or token.type in ("NOT", "AND", "OR", "IF", "COMPARE")
        if chain > MAX_CHAIN:
            return Diagnostic(
                f"more than {MAX_CHAIN} operators in one statement",
                span(token.start_pos, token.end_pos),
                "name parts of it with 'let', 'def' or a tensor",
            )
    return None


_HELP = {
    "IF": "a conditional is written: a if condition else b",
    "LBRACE": "a cascade function is written: def f[j](x) { ...; return e }",
}


def _unexpected_token(error: Any, line: LogicalLine, span: Any) -> Diagnostic:
    token = error.token
    if token.type == "$END":
        end = len(line.text)
        return Diagnostic(
            "the statement ends too early", span(max(end - 1, 0), end), _expectation(error.expected)
        )
    at = token.start_pos
    what = f"'{token}' cannot stand here"
    if at == 0 and token.type == "NAME" or token.type == "NAME" and error.expected == {"REDUCE"}:
        return Diagnostic(
            what, span(at, token.end_pos), "a statement is 'T[indices] = expression' or a declaration"
        )
    return Diagnostic(what, span(at, token.end_pos), _expectation(error.expected))


_WORDS = {
    "NAME": "a name", "INT": "a number", "REDUCE": "'=', '+=' or another reduction", "LPAR": "'('", "RPAR": "')'",
    "LSQB": "'['", "RSQB": "']'", "COMMA": "','", "COLON": "':'", "EQUAL": "'='", "__ANON_0": "'<'",
    "LBRACE": "'{'", "RBRACE": "'}'", "STRING": 'a path in double quotes', "ELSE": "'else'",
}  # fmt: skip


def _expectation(expected: Any) -> str:
    words = [_WORDS[t] for t in sorted(expected) if t in _WORDS]
    if "INT" in expected and "LPAR" in expected:
        return "an expression is expected here"
    return (
        f"expected {' or '.join(words[:4])}"
        if words
        else "an operator or the end of the line is expected here"
    )


def _character_help(character: str) -> str:
    if character == "!":
        return "negation is 'not', inequality '!='"
    if character in "'`":
        return "only import takes text, in double quotes"
    if character == "_":
        return "names begin with a letter"
    return "remove it"
