"""What to say when a statement cannot be read: lark knows which token it stopped at and which it would have
taken; the reader wants to know what to write."""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass

FORMS = {
    "attention": "attention NAME",
    "import": 'import "path.attn"',
    "param": "param NAME: int = 4 (or float, bool)",
    "input": "input Q[b, i, d], page[b, _]: i32",
    "output": "output O[b, i, e], lse[b, i]: f32",
    "index": "index r < 8",
    "let": "let NAME = expression",
    "mask": "mask NAME = predicate",
    "def": "def f(x) = expression, or def f[j](x) { ...; return expression }",
}
STATEMENT = "a statement is: T[indices] = expression, or += max= min= mean= *= any= all="


@dataclass(frozen=True, slots=True)
class Stop:
    """Where reading stopped: the token (empty at the end), its place in the statement, what could follow."""

    token: str
    at: int
    accepts: frozenset[str]
    statement: str

    @property
    def first_word(self) -> str:
        """The word the statement begins with."""
        return self.statement.split(None, 1)[0]

    @property
    def before(self) -> str:
        """What stands right before."""
        return self.statement[: self.at]

    @property
    def after(self) -> str:
        """What stands right after."""
        return self.statement[self.at + len(self.token) :]


def begins_nothing(stop: Stop) -> str | None:
    """Help for ``ouput O[b]``, where the first word should have been a keyword."""
    if "REDUCE" not in stop.accepts or not stop.token[:1].isalnum() or not stop.first_word.isidentifier():
        return None
    if stop.first_word == "return":
        return "'return' ends a cascade function: def f[j](x) { ...; return expression }"
    if stop.first_word == "where":
        return "'where' ends the statement it restricts"
    close = difflib.get_close_matches(stop.first_word, list(FORMS), n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else STATEMENT


def help_for(stop: Stop) -> str:
    """How to mend a statement that stops at a token."""
    return _spelling(stop) or _structure(stop)


def _spelling(stop: Stop) -> str:
    """Operators of other languages."""
    token, accepts = stop.token, stop.accepts
    defining = "REDUCE" in accepts
    if token == "//" or (token[:1].isalpha() and re.search(r"//\s*\w+\s*$", stop.before)):
        return "a comment begins with '#'"
    if token == "=" and re.search(r"\w\([^()]*\b[A-Za-z]\w*\s*$", stop.before):
        return "functions take no keywords; what is reduced stands in brackets: softmax[j](x)"
    if token == "=" and "COMPARE" in accepts and stop.first_word != "index":
        return "equality is '=='"
    if token in ("&", "|") and stop.before.endswith(token):
        return f"predicates are joined with '{'and' if token == '&' else 'or'}'"
    if defining and token == "-" and stop.after.startswith("="):
        return "there is no '-=': add the negative, '+= -(...)'"
    if token == "_":
        return (
            "'_' stands only in the dimensions of an input"
            if "[" in stop.before
            else "names begin with a letter"
        )
    if token == ":" and "[" in stop.before.rpartition("]")[2]:
        return "an index runs over its whole range; ':' stands only in 'c in list[b,:]'"
    if token == "[" and stop.before.endswith("]"):
        return "all indices of a tensor stand in one pair of brackets: T[b,i]"
    if token == "(" and stop.before.endswith("[]"):
        return "the brackets take the indices that are reduced: softmax[j](x)"
    return ""


def _structure(stop: Stop) -> str:
    if {"INT", "LPAR", "SUM"} <= stop.accepts:
        return "an expression is expected here"
    if stop.accepts == frozenset({"RPAR"}) or stop.token == "" and "RPAR" in stop.accepts:
        return "')' is expected here"
    if "ELSE" in stop.accepts:
        return "a conditional is written: a if condition else b"
    if stop.first_word in FORMS and "POWER" not in stop.accepts:
        return f"written: {FORMS[stop.first_word]}"
    if "REDUCE" in stop.accepts or stop.at == 0:
        return STATEMENT
    return "an operator is expected here; ';' or a new line begins another statement"


def help_for_character(character: str, statement: str, at: int = 0) -> str:
    """How to mend a statement with a character, at this place, that the language does not have."""
    if statement.startswith("import"):
        return f"written: {FORMS['import']}"
    if character.isspace():
        return "it looks like a space; put a plain one"
    if statement[at : at + 3] == "...":
        return "every index is written: Q[b,h,i,d]"
    if character == "." and re.search(r"[A-Za-z_]\w*$", statement[:at]):
        return "there are no modules and no methods: write f(x), softmax[j](x)"
    if character.isalpha():
        spelt = unicodedata.name(character, "").split()[-1:]
        return f"names are of ASCII letters, digits and '_': {spelt[0].lower() if spelt else 'a name'}"
    known = {
        "!": "negation is 'not', inequality '!='",
        "~": "negation is 'not'",
        "'": "only import takes text, in double quotes",
        '"': "only import takes text; it ends on its line",
        ".": "a number is written 0.5",
        "@": "a contraction names its indices: S[i,j] += A[i,d] * B[j,d]",
    }
    return known.get(character, "remove it")
