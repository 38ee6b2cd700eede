"""Text in, text out: rewrites are tested by the ``.attn`` text of what they give."""

from __future__ import annotations

from dataclasses import replace

from attn_dsl.ir.cascade import Cascade, Einsum, Statement
from attn_dsl.ir.printer import print_cascade
from attn_dsl.language.load import load_text

LOG2_E = "1.4426950408889634"
DECLARATIONS = """
attention test
input Q[i, d], K[j, d], V[j, e]
input x[i, j], y[i, j], r[i], s[i], c[j], t
"""


def load(statements: str, output: str, declarations: str = DECLARATIONS) -> Cascade:
    """The cascade of some statements; ``output`` such as ``O[i, e]``."""
    return load_text(f"{declarations}\n{statements}\noutput {output}\n").cascade


def assert_rewritten(result: Cascade, statements: str, output: str, declarations: str = DECLARATIONS) -> None:
    """The result has exactly these statements (the order of reduced indices does not matter)."""
    expected = load(statements, output, declarations)
    assert _canonical(result) == _canonical(expected), print_cascade(result)


def _canonical(cascade: Cascade) -> list[Statement]:
    return [
        replace(s, over=tuple(sorted(s.over))) if isinstance(s, Einsum) else s for s in cascade.statements
    ]
