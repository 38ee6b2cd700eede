"""Short texts to cascades, for the tests of the language."""

from __future__ import annotations

import pytest

from attn_dsl.errors import LanguageError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.printer import print_cascade
from attn_dsl.language.load import load_text

HEAD = """attention probe
param w: int = 4
param c: float = 2.0
input Q[b,h,i,d], K[b,h,j,d], V[b,h,j,e], keep[b,j]: bool, list[b,n]: i64
"""
SCORES = "S[b,h,i,j] += Q[b,h,i,d] * K[b,h,j,d]\n"
RESULT = "\nO[b,h,i,e] += V[b,h,j,e] * Q[b,h,i,d]\noutput O[b,h,i,e]\n"


def cascade(statements: str) -> Cascade:
    """The cascade of statements over the inputs of ``HEAD``, with an output that uses none of them."""
    return load_text(HEAD + statements + RESULT, "probe.attn").cascade


def statements(text: str) -> list[str]:
    """The statements as printed, without the one for the output."""
    printed = print_cascade(cascade(text)).splitlines()
    return [line for line in printed if line[:1].isupper() and not line.startswith("O[")]


def refused(text: str, head: str = HEAD, result: str = RESULT) -> list[str]:
    """The messages of an illegal text, in order."""
    with pytest.raises(LanguageError) as caught:
        load_text(head + text + result, "probe.attn")
    return [d.message for d in caught.value.diagnostics]
