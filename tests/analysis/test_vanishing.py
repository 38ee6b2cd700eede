"""Whether what an element adds is nothing while the extremum that it follows is still infinite."""

from __future__ import annotations

import pytest

from attn_dsl.ir.cascade import Einsum
from tests.analysis.test_passes import over_keys, rows


@pytest.mark.parametrize(
    ("text", "folds"),
    [
        ("m[i] max= x[i,j] + y[i,j]; a[i] += exp(x[i,j] + y[i,j] - m[i])", True),
        ("m[i] max= x[i,j] + y[i,j]; a[i] += exp(x[i,j] - m[i])", False),  # y alone may be -inf
        ("m[i] max= 2 * x[i,j]; a[i] += exp(x[i,j] - m[i])", True),
        ("m[i] max= -x[i,j]; a[i] += exp(x[i,j] - m[i])", False),
        ("m[i] min= x[i,j]; a[i] += exp(m[i] - x[i,j])", True),
        ("m[i] min= x[i,j]; a[i] += exp(x[i,j] - m[i])", False),
        ("m[i] max= tanh(x[i,j]); a[i] += exp(tanh(x[i,j]) - m[i]) * y[i,j]", True),
        ("m[i] max= x[i,j]; a[i] += exp(y[i,j] - m[i])", False),
        ("m[i] max= exp(x[i,j]); a[i] += exp(y[i,j] - m[i])", True),  # no maximum of exponentials is -inf
        ("m[i] max= x[i,j]; a[i] max= exp(x[i,j] - m[i]) * abs(y[i,j])", True),
        ("m[i] max= x[i,j]; a[i] max= x[i,j] - m[i] + y[i,j]", True),
        ("m[i] max= x[i,j]; a[i] max= y[i,j] - m[i]", False),
        ("m[i] max= x[i,j]; a[i] min= m[i] - x[i,j]", True),
        ("l[i] += y[i,j]; a[i] += exp(x[i,j] - l[i])", True),
    ],
)
def test_what_follows_an_extremum(text: str, folds: bool) -> None:
    analysis = over_keys(rows(text))
    assert ("a" in analysis.folds) == folds


def test_pointwise_tensors_are_looked_into() -> None:
    """A term that was hoisted out of the maximum cancels only where the scores are spelt out."""
    cascade = rows("X[i,j] = x[i,j] + r[i]; n[i] max= x[i,j]; m[i] = n[i] + r[i]; a[i] += exp(X[i,j] - m[i])")
    assert any(isinstance(s, Einsum) and s.target == "X" for s in cascade.statements)
    assert "a" in over_keys(cascade).folds


def test_a_sum_that_may_cancel_to_0_has_met_something() -> None:
    cascade = rows("l[i] += y[i,j]; a[i] += exp(x[i,j] - l[i])")
    assert over_keys(cascade).folds["a"].resting == ()
    positive = rows("l[i] += exp(y[i,j]); a[i] += x[i,j] / l[i]")
    assert over_keys(positive).folds["a"].resting == ("l",)
