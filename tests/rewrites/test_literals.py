"""Literals of a product are one, and what is left keeps its kind."""

from __future__ import annotations

import pytest
import torch

import attn_dsl
from attn_dsl.ir.printer import print_expr
from attn_dsl.language.load import load_text
from attn_dsl.rewrites import normal_form


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("x[i] * 0.5 * 0.25", "x[i] * 0.125"),
        ("x[i] * 0.02 / 0.5", "x[i] * 0.04"),
        ("x[i] * 0.5 * 2.0", "x[i]"),
        ("-(0.5 * x[i]) * 2.0", "-x[i]"),
        ("0.5 * x[i] / y[i] * 4.0", "2.0 * x[i] / y[i]"),
        ("i * 0.5 * 2.0", "i * 1.0"),
        ("x[i] * 2", "x[i] * 2"),
        ("x[i] * 1e30 * 1e30", "x[i] * 1e+30 * 1e+30"),
        ("x[i] * 0.0 * 2.0", "x[i] * 0.0 * 2.0"),
    ],
)
def test_collected(written: str, kept: str) -> None:
    text = f"attention a\ninput x[i], y[i]\nO[i] = {written}\noutput O[i]\n"
    (statement,) = normal_form(load_text(text).cascade).statements
    assert print_expr(statement.body) == kept
    x, y = torch.randn(2, 9, dtype=torch.float64)
    attention = attn_dsl.compile(text, target="cpu")
    torch.testing.assert_close(attention(x, y), attention.reference(x, y))


def test_a_derivative_takes_back_what_base_two_has_put() -> None:
    from attn_dsl.differentiation import backward
    from attn_dsl.planning import plan

    text = (
        "attention a\ninput s[i,j], v[j]\nP[i,j] = softmax[j](s[i,j])\nO[i] += P[i,j] * v[j]\noutput O[i]\n"
    )
    cascade = plan(backward(load_text(text).cascade).cascade, {}).cascade
    assert "0.693" not in "".join(print_expr(s.body) for s in cascade.statements)
