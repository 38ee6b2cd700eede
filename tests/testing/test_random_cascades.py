"""Cascades that are not attention, against the reference. A longer run: ``attn_dsl.testing.campaign
--cascades``."""

from __future__ import annotations

from functools import partial

import pytest
import torch

import attn_dsl
from attn_dsl.ir.printer import print_cascade
from attn_dsl.language.load import load_text
from attn_dsl.testing.cascades import cascade_text, random_cascade
from attn_dsl.testing.choices import spread
from attn_dsl.testing.property import Outcome, run_case

CHUNK = 20
tried = partial(run_case, seed=7, draw=random_cascade)


def failures(target: str, chunk: int, count: int, *, gradients: bool = False) -> str:
    cases = [
        tried(n, target=target, gradients=gradients) for n in range(chunk * CHUNK, chunk * CHUNK + count)
    ]
    wrong = (
        {Outcome.FAILED} if gradients else {Outcome.FAILED, Outcome.REFUSED}
    )  # a gradient may want pairs stored
    return "\n\n".join(case.report for case in cases if case.outcome in wrong)


@pytest.mark.usefixtures("plain_builds")
@pytest.mark.parametrize("chunk", range(4))
def test_native_kernels(chunk: int) -> None:
    """None is refused either: a reduction of anything over anything has a kernel."""
    assert failures("cpu", chunk, CHUNK) == ""


@pytest.mark.parametrize("chunk", [10, 11])
def test_triton_kernels(chunk: int) -> None:
    assert failures("interpreter", chunk, 5) == ""


@pytest.mark.usefixtures("plain_builds")
@pytest.mark.parametrize("chunk", [20, 21])
def test_gradients(chunk: int) -> None:
    assert failures("cpu", chunk, 8, gradients=True) == ""


def test_they_reach_what_attention_does_not() -> None:
    texts = [cascade_text(spread(7, n)) for n in range(200)]
    for text in texts:
        cascade = load_text(text).cascade
        assert load_text(print_cascade(cascade)).cascade == cascade
    for what in ("[] +=", "[] mean=", "output T1[]", "min=", "softmax[", "where", "index "):
        assert sum(what in text for text in texts) > 5, what


# what the generator found


@pytest.mark.usefixtures("plain_builds")
def test_a_mask_holds_for_what_is_added_element_by_element() -> None:
    """The gradient is two sums of one element each, and 0 where the mask is not."""
    text = "attention a\ninput X[i, n]\nT[i] mean= tanh(X[i,n]) + (X[i,n] + 0.5)  where n > 0\noutput T[i]\n"
    attention = attn_dsl.compile(text, target="cpu")
    mine, plain = (torch.linspace(-1, 1, 15).reshape(3, 5).requires_grad_() for _ in range(2))
    attention(mine).sum().backward()
    ((plain.tanh() + plain + 0.5)[:, 1:].mean(1)).sum().backward()
    torch.testing.assert_close(mine.grad, plain.grad)


@pytest.mark.usefixtures("plain_builds")
def test_an_extremum_over_many_axes() -> None:
    text = "attention a\ninput X[a, b, c, d, e, f]\nT[b] min= X[a,b,c,d,e,f]\noutput T[b]\n"
    x = torch.randn(2, 3, 2, 3, 2, 5)
    torch.testing.assert_close(attn_dsl.compile(text, target="cpu")(x), x.amin((0, 2, 3, 4, 5)))


def test_the_reference_reduces_what_has_no_index() -> None:
    text = "attention a\ninput X[i]\nS[] += X[i]\nT[] += S[]\nT[] += 0.5 * S[]\noutput T[]\n"
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    found = attn_dsl.compile(text).reference(x)
    found.backward()
    assert found.item() == 4.5
    assert x.grad is not None and x.grad.tolist() == [1.5] * 3


@pytest.mark.usefixtures("plain_builds")
@pytest.mark.parametrize("operator", ["+=", "max=", "mean=", "*="])
@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_contributions_whose_loops_cross(target: str, operator: str) -> None:
    text = f"""
attention a
input X[b, c], Y[b, c, a]
T[b] {operator} X[b,c]  where c > 1
T[b] {operator} Y[b,c,a]  where a > c
T[b] {operator} 0.5  where b > 1
output T[b]
"""
    attention = attn_dsl.compile(text, target=target)
    for c, a in ((4, 5), (1, 1), (7, 40)):
        x, y = torch.randn(3, c), torch.randn(3, c, a)
        torch.testing.assert_close(attention(x, y).double(), attention.reference(x, y), rtol=1e-4, atol=1e-4)
