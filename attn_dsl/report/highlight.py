"""Source text as HTML with classes: ``.attn`` by a lexer of its own, Python and C++ by those of pygments."""

from __future__ import annotations

from typing import Any, ClassVar

from markupsafe import Markup
from pygments import highlight as pygmentise
from pygments.formatters.html import HtmlFormatter
from pygments.lexer import Lexer, RegexLexer, words
from pygments.lexers.c_cpp import CppLexer
from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Whitespace

from attn_dsl.ir.dtypes import DTYPES

_DECLARATIONS = ("attention", "import", "param", "input", "output", "index", "let", "def", "mask", "return")
_WORDS = ("where", "if", "else", "and", "or", "not", "in", "over")
_KINDS = ("int", "float", *DTYPES, "true", "false")


class AttnLexer(RegexLexer):
    """The words of the language."""

    name = "attn"
    tokens: ClassVar[dict[str, Any]] = {
        "root": [
            (r"#[^\n]*", Comment.Single),
            (r"\s+", Whitespace),
            (r'"[^"\n]*"', String),
            (words(_DECLARATIONS, prefix=r"\b", suffix=r"\b"), Keyword.Declaration),
            (words(_WORDS, prefix=r"\b", suffix=r"\b"), Operator.Word),
            (words(_KINDS, prefix=r"\b", suffix=r"\b"), Keyword.Type),
            (r"[A-Za-z]\w*(?=\s*\()", Name.Function),
            (r"[A-Za-z]\w*(?=\s*\[[^\]]*\]\s*\()", Name.Function),
            (r"[A-Za-z]\w*(?=\s*\[)", Name.Variable),
            (r"\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+", Number),
            (r"(?:max|min|mean|any|all|[+*])?=(?!=)", Operator),
            (r"[A-Za-z_]\w*", Name),
            (r"[-+*/%&|^<>=!~]+", Operator),
            (r"[\[\](){},:;]", Punctuation),
        ]
    }


_LEXERS: dict[str, type[Lexer]] = {"attn": AttnLexer, "triton": PythonLexer, "cpu": CppLexer}


def highlight(text: str, language: str) -> Markup:
    """A text in ``attn``, ``triton`` or ``cpu`` as spans, escaped."""
    formatter: Any = HtmlFormatter(nowrap=True)
    lexer = _LEXERS[language](stripnl=False)
    return Markup(pygmentise(text, lexer, formatter))
