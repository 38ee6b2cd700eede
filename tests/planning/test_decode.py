"""One query: its heads that share keys are the rows of a tile, so that keys and values are read once for
them."""

from __future__ import annotations

import pytest
import torch

import attn_dsl
from attn_dsl.planning import plan
from tests.examples.cases import EXAMPLES

pytestmark = pytest.mark.usefixtures("quick_builds")

GROUPED = """
attention decode
input Q[b, (g r), i, d], K[b, g, j, d], V[b, g, j, e]
S[b,g,r,i,j] += Q[b,g,r,i,d] * K[b,g,j,d]
X[b,g,r,i,j]  = S[b,g,r,i,j] / sqrt(size(d))  where j <= i + size(j) - size(i)
P[b,g,r,i,j]  = softmax[j](X[b,g,r,i,j])
O[b,g,r,i,e] += P[b,g,r,i,j] * V[b,g,j,e]
output O[b, (g r), i, e]
"""
MULTI_QUERY = """
attention multi_query
input Q[b, h, i, d], K[b, j, d], V[b, j, e]
S[b,h,i,j] += Q[b,h,i,d] * K[b,j,d]
X[b,h,i,j]  = S[b,h,i,j] / sqrt(size(d))  where j <= i + size(j) - size(i)
P[b,h,i,j]  = softmax[j](X[b,h,i,j])
O[b,h,i,e] += P[b,h,i,j] * V[b,j,e]
output O[b, h, i, e]
"""
SIGMOID_WINDOW = GROUPED.replace(
    "softmax[j](X[b,g,r,i,j])", "sigmoid(X[b,g,r,i,j])  where i + size(j) - size(i) - j < 9"
)
TEXTS = {"grouped": GROUPED, "multi-query": MULTI_QUERY, "sigmoid over a window": SIGMOID_WINDOW}


def _arguments(name: str, queries: int, keys: int) -> list[torch.Tensor]:
    torch.manual_seed(keys)
    heads = () if name == "multi-query" else (2,)
    return [torch.randn(s) for s in ((3, 8, queries, 17), (3, *heads, keys, 17), (3, *heads, keys, 20))]


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
@pytest.mark.parametrize("keys", [1, 2, 67])
@pytest.mark.parametrize("name", TEXTS)
def test_results(name: str, keys: int, target: str) -> None:
    attention = attn_dsl.compile(TEXTS[name], target=target)
    for queries in (1, 2):
        arguments = _arguments(name, queries, keys)
        expected = attention.reference(*arguments).float()
        torch.testing.assert_close(attention(*arguments), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TEXTS)
def test_gradients(name: str) -> None:
    attention = attn_dsl.compile(TEXTS[name], target="cpu")
    arguments = [t.double().requires_grad_() for t in _arguments(name, 1, 31)]
    assert torch.autograd.gradcheck(attention, arguments, fast_mode=True)


@pytest.mark.parametrize(("name", "rows"), [("grouped", ("r",)), ("multi-query", ("h",))])
def test_the_rows_are_heads(name: str, rows: tuple[str, ...]) -> None:
    cascade = attn_dsl.compile(TEXTS[name]).cascade
    sizes = {"i": 1, "g": 2, "r": 4, "h": 8}
    assert [k.rows for k in plan(cascade, {}, sizes=sizes).kernels] == [rows]
    assert [k.rows for k in plan(cascade, {}, sizes={**sizes, "i": 2}).kernels] == [("i",)]


def test_lengths_other_than_one_have_one_program() -> None:
    cascade = attn_dsl.compile(EXAMPLES / "heads" / "grouped_query.attn").cascade
    found = {id(plan(cascade, {}, sizes={"i": n, "r": 4, "g": 2})) for n in (2, 60, 100, 1000, 10**6)}
    assert len(found) == 1


def test_a_single_head_has_the_least_tile() -> None:
    cascade = attn_dsl.compile(EXAMPLES / "basic" / "dense.attn").cascade
    (kernel,) = plan(cascade, {}, sizes={"i": 1}).kernels
    assert kernel.few_rows
    assert kernel.rows == ("i",)
