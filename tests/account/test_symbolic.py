"""Formulas equal counts, for random sizes and params; what has no formula says why."""

from __future__ import annotations

import random

import pytest
import sympy

import attn_dsl
from attn_dsl.account.counting import count
from attn_dsl.account.symbolic import NoFormula, live_formula, param_symbol, polynomial, size_symbol
from attn_dsl.account.values import Facts, grid
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Expr
from attn_dsl.ir.walk import index_names
from attn_dsl.language.load import load_text
from tests.examples.cases import EXAMPLES

TEXT = """attention t
param w: int = 3
param s: int = 2
input Q[x, i, d], K[u, j, d], doc[j]: i32
X[x,i,u,j] += Q[x,i,d] * K[u,j,d]
Z[x,i] max= X[x,i,u,j] where {}
output Z[x, i]
"""
PREDICATES = {
    "j <= i": "n*(n + 1)/2",
    "j < i": "n*(n - 1)/2",
    "0 <= i - j < w": "w*(2*n - w + 1)/2",
    "abs(i - j) <= w": "2*n*w + n - w**2 - w",
    "j <= i and (j < s or i - j < w)": "(s + w)*(2*n - s - w + 1)/2",
    "j < s": "n*s",
    "i < s": "n*s",
    "i < s or j < w": "n*s + n*w - s*w",
    "j - size(j) <= i - size(i)": "n*(n + 1)/2",
    "j >= clamp(i - 1, 0, w) and j <= i + s": None,
    "j < max(i, w)": None,
    "2 * i + j <= size(j)": None,
    "i + j < size(i)": None,
    "j <= i and u <= x": None,
    "0 <= i - j < w and abs(u - x) <= s": None,
}


def where(predicate: str) -> tuple[Expr, Cascade, tuple[str, ...], tuple[str, ...]]:
    cascade = load_text(TEXT.format(predicate)).cascade
    found = cascade.statements[-1].where
    assert found is not None
    indices = index_names(found)
    return found, cascade, indices, tuple(i for i in indices if i in "ju")


@pytest.mark.parametrize("predicate", [p for p in PREDICATES if p != "2 * i + j <= size(j)"])
def test_formulas_equal_counts(predicate: str) -> None:
    found, cascade, indices, streams = where(predicate)
    formula = live_formula(found, indices, streams, {"w": 3, "s": 2}, cascade)
    symbols = sorted(formula.free_symbols, key=str)
    evaluate = sympy.lambdify(symbols, formula, "math")
    draw = random.Random(4)
    for _ in range(12):
        sizes = {i: draw.randint(1, 9) for i in ("x", "i", "u", "j", "d")}
        params = {"w": draw.randint(1, 10), "s": draw.randint(1, 10)}
        expected = count(
            found, grid({i: sizes[i] for i in indices}), frozenset(streams), Facts(cascade, params, sizes)
        )
        values = {size_symbol(i): n for i, n in sizes.items()} | {
            param_symbol(p): v for p, v in params.items()
        }
        assert round(evaluate(*(values[s] for s in symbols))) == expected, (sizes, params)


@pytest.mark.parametrize("predicate", [p for p, simple in PREDICATES.items() if simple])
def test_polynomials_are_those_of_the_textbook(predicate: str) -> None:
    found, cascade, indices, streams = where(predicate)
    simple = polynomial(found, indices, streams, {"w": 3, "s": 2}, cascade)
    assert simple is not None
    n = sympy.Symbol("n", integer=True, positive=True)
    names = {"n": n, "w": param_symbol("w"), "s": param_symbol("s")}
    expected = sympy.sympify(PREDICATES[predicate], locals=names)
    free = n if len(indices) == 1 else 1  # a mask over j alone is counted over j alone
    assert sympy.expand(simple[0] * free - expected) == 0


@pytest.mark.parametrize(
    ("predicate", "reason"),
    [
        ("(i - j) % w == 0", "no bound: (i - j) % w == 0"),
        ("j // w <= i // w", "a division of the row: i // w"),
        ("doc[j] == i", "no bound: doc[j] == i"),
        ("j <= i * i", "not linear in its row: i * i"),
        ("j <= i and u <= i", "the range of u and another meet in the same rows"),
        ("j <= 2 * i + x", "the range of j and another meet in the same rows"),
        ("2 * i + j <= size(j)", "a range that grows by 2 a row"),
    ],
)
def test_why_there_is_no_formula(predicate: str, reason: str) -> None:
    found, cascade, indices, streams = where(predicate)
    with pytest.raises(NoFormula) as raised:
        live_formula(found, indices, streams, {"w": 3, "s": 2}, cascade)
    assert str(raised.value) == reason


def test_an_account_without_sizes() -> None:
    analysis = attn_dsl.compile(EXAMPLES / "masks/sink_window.attn").analyze()
    assert analysis.forward is None
    simple = {m.name: m.simple for m in analysis.masks}
    assert simple["past"] == "n*(n + 1)/2  where n = size(j) = size(i)"
    assert simple["where"].startswith("(sinks + window)*(2*n - sinks - window + 1)/2  where")
    assert "n*(n + 1)/2" in str(analysis)


def test_a_two_dimensional_neighbourhood_has_the_obvious_polynomial() -> None:
    analysis = attn_dsl.compile(EXAMPLES / "multidim/neighbourhood_2d.attn").analyze()
    assert analysis.masks[0].simple.startswith("n**2*window**2  where")
