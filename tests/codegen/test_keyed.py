"""Keyed reductions in kernels: sums at places that are computed from what is summed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import attn_dsl

TARGETS = ("cpu", "interpreter")

HISTOGRAM = """attention histogram    # how often a query meets each score, rounded
input Q[b, i, d], K[b, j, d]
index k < 9
S[b,i,j] += Q[b,i,d] * K[b,j,d]
H[b, clamp(i32(floor(S[b,i,j])) + 4, 0, 8)] += 1   where j <= i
output H[b, k]
"""

SEGMENTS = """attention segments    # the values of each segment, summed; those beyond the last go nowhere
input V[b, j, e], segment[b, j]: i64
index k < 5
T[b, segment[b,j], e] += V[b,j,e]
output T[b, k, e]
"""

TWICE = """attention twice    # two statements, two loops' worth of places
input Q[b, i, d], K[b, j, d], m[b, j]
index k < 9
S[b,i,j] += Q[b,i,d] * K[b,j,d]
H[b, (i + 2*j) % 9] += S[b,i,j]           where j <= i
H[b, (i * j) % 7]   += exp(S[b,i,j] / 9)
H[b, k]             += m[b,j]             where j % 9 == k
output H[b, k]
"""

WEIGHTS = """attention weights    # of a softmax, which is final only after a first pass over the keys
input Q[b, i, d], K[b, j, d]
index o < size(i) + size(j) - 1
S[b,i,j] += Q[b,i,d] * K[b,j,d]
P[b,i,j]  = softmax[j](S[b,i,j])
D[b, i - j + size(j) - 1] += P[b,i,j]
output D[b, o]: f32
"""


def inputs(text: str, n: int, m: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    torch.manual_seed(n)
    if "segment" in text:
        return [torch.randn(2, m, 6, dtype=dtype), torch.randint(-1, 6, (2, m))]
    pair = [torch.randn(2, n, 6, dtype=dtype), torch.randn(2, m, 6, dtype=dtype)]
    return [*pair, torch.randn(2, m, dtype=dtype)] if "m[b, j]" in text else pair


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("text", [HISTOGRAM, SEGMENTS, TWICE, WEIGHTS], ids=lambda t: t.split()[1])
@pytest.mark.parametrize(("n", "m"), [(37, 41), (1, 20), (17, 0)])
def test_values(text: str, target: str, n: int, m: int) -> None:
    attention = attn_dsl.compile(text, target=target)
    given = inputs(text, n, m)
    torch.testing.assert_close(
        attention(*given).double(), attention.reference(*given).double(), atol=1e-4, rtol=1e-5
    )


@pytest.mark.parametrize("text", [SEGMENTS, TWICE, WEIGHTS], ids=lambda t: t.split()[1])
def test_the_same_bits_with_any_number_of_threads(text: str) -> None:
    attention = attn_dsl.compile(text, target="cpu")
    given = inputs(text, 700, 300)
    before = torch.get_num_threads()
    found: list[Tensor] = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found += [attention(*given), attention(*given)]
    torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_not_finite_stays_at_its_place(target: str) -> None:
    """On a GPU a sum is held in digits, which say so beside."""
    attention = attn_dsl.compile(SEGMENTS, target=target)
    values = torch.tensor([torch.inf, 1.0, torch.inf, -torch.inf, torch.nan, 2.0, -torch.inf, 3e38, 3e38])
    segments = torch.tensor([[0, 0, 1, 1, 2, 2, 3, 4, 4]])
    found = attention(values[None, :, None], segments)[0, :, 0]
    expected = torch.tensor([torch.inf, torch.nan, torch.nan, -torch.inf, torch.inf])
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("target", TARGETS)
def test_large_and_small_addends(target: str) -> None:
    """1e30 and its negative leave what is added beside them, where the sum is exact; f64 keeps 1."""
    attention = attn_dsl.compile(SEGMENTS, target=target)
    values = torch.tensor([2.0**50, 1.0, -(2.0**50), 1e-40, 3e-45])
    found = attention(values[None, :, None], torch.tensor([[0, 0, 0, 1, 1]]))[0, :2, 0]
    torch.testing.assert_close(found, torch.stack([values[1], values[3] + values[4]]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("text", [SEGMENTS, TWICE, WEIGHTS], ids=lambda t: t.split()[1])
def test_gradients(text: str) -> None:
    attention = attn_dsl.compile(text, target="cpu")
    given = inputs(text, 33, 20, torch.float64)
    leaves = [t.requires_grad_() if t.is_floating_point() else t for t in given]
    found = attention(*leaves)
    adjoint = torch.randn_like(found)
    wanted = [t for t in leaves if t.requires_grad]
    actual = torch.autograd.grad(found, wanted, adjoint)
    expected = torch.autograd.grad(attention.reference(*leaves), wanted, adjoint.double())
    torch.testing.assert_close(actual, expected)


def test_what_is_not_lowered() -> None:
    with pytest.raises(attn_dsl.NotLoweredError, match=r"keyed reduction into 'T' by 'max='"):
        attn_dsl.compile(SEGMENTS.replace("+=", "max=")).source("cpu")
    with pytest.raises(attn_dsl.NotLoweredError, match="an output only"):
        attn_dsl.compile(SEGMENTS.replace("output", "U[b,k,e] = T[b,k,e] * 2\noutput U[b,k,e],")).source(
            "cpu"
        )
    with pytest.raises(attn_dsl.NotLoweredError, match="f64 on a GPU"):
        attn_dsl.compile(WEIGHTS).source("triton", dtype=torch.float64)
