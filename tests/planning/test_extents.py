"""Plans that hang on how long extents are: each against plain torch, forward and backward, and by what it stores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import attn_dsl
from attn_dsl.language.load import load_text
from attn_dsl.planning import plan
from attn_dsl.planning.extents import Length, length_of
from tests.examples.cases import EXAMPLES

pytestmark = pytest.mark.usefixtures("quick_builds")

ROTARY_PAIRS = """
attention rotary_pairs
input Q[b, h, i, d], K[b, h, j, d], V[b, h, j, e], C[i, p], Z[i, p], Ck[j, p], Zk[j, p]
index p < size(d) // 2
R[b,h,i,p]  = Q[b,h,i,2 * p] * C[i,p] - Q[b,h,i,2 * p + 1] * Z[i,p]
T[b,h,i,p]  = Q[b,h,i,2 * p] * Z[i,p] + Q[b,h,i,2 * p + 1] * C[i,p]
Rk[b,h,j,p] = K[b,h,j,2 * p] * Ck[j,p] - K[b,h,j,2 * p + 1] * Zk[j,p]
Tk[b,h,j,p] = K[b,h,j,2 * p] * Zk[j,p] + K[b,h,j,2 * p + 1] * Ck[j,p]
S[b,h,i,j] += R[b,h,i,p] * Rk[b,h,j,p] + T[b,h,i,p] * Tk[b,h,j,p]
P[b,h,i,j]  = softmax[j](S[b,h,i,j] / sqrt(size(d)))
O[b,h,i,e] += P[b,h,i,j] * V[b,h,j,e]
output O[b,h,i,e]
"""

TALKING_HEADS = """
attention talking_heads
input Q[b, g, i, d], K[b, g, j, d], V[b, h, j, e], M[g, m], W[m, h]
S[b,g,i,j] += Q[b,g,i,d] * K[b,g,j,d]
L[b,m,i,j] += S[b,g,i,j] * M[g,m]
P[b,m,i,j]  = softmax[j](L[b,m,i,j] / sqrt(size(d)))
U[b,h,i,j] += P[b,m,i,j] * W[m,h]
O[b,h,i,e] += U[b,h,i,j] * V[b,h,j,e]
output O[b,h,i,e]
"""

REATTENTION = """
# DeepViT (Zhou et al., 2021): the heads' weights are mixed after the softmax.
attention reattention
input Q[b, g, i, d], K[b, g, j, d], V[b, h, j, e], W[g, h]
S[b,g,i,j] += Q[b,g,i,d] * K[b,g,j,d]
P[b,g,i,j]  = softmax[j](S[b,g,i,j])
U[b,h,i,j] += P[b,g,i,j] * W[g,h]
O[b,h,i,e] += U[b,h,i,j] * V[b,h,j,e]
output O[b,h,i,e]
"""

CROSS_COVARIANCE = """
attention cross_covariance
input Q[b, h, n, d], K[b, h, n, c], V[b, h, n, c], t[h]
q2[b,h,d] += Q[b,h,n,d] * Q[b,h,n,d]
k2[b,h,c] += K[b,h,n,c] * K[b,h,n,c]
S[b,h,d,c] += Q[b,h,n,d] * K[b,h,n,c]
P[b,h,d,c]  = softmax[c](S[b,h,d,c] * t[h] / sqrt(q2[b,h,d] * k2[b,h,c]))
O[b,h,n,d] += P[b,h,d,c] * V[b,h,n,c]
output O[b,h,n,d]
"""

EFFICIENT = """
# Efficient attention (Shen et al., 2021): keys are normalised over the tokens, and a matrix of features is the state.
attention efficient
input Q[b, h, i, d], K[b, h, n, d], V[b, h, n, e]
R[b,h,i,d]  = softmax[d](Q[b,h,i,d])
T[b,h,n,d]  = softmax[n](K[b,h,n,d])
G[b,h,d,e] += T[b,h,n,d] * V[b,h,n,e]
O[b,h,i,e] += R[b,h,i,d] * G[b,h,d,e]
output O[b,h,i,e]
"""


def _rotary(q: Tensor, k: Tensor, v: Tensor, c: Tensor, z: Tensor, ck: Tensor, zk: Tensor) -> Tensor:
    def turned(x: Tensor, c: Tensor, z: Tensor) -> Tensor:
        a, b = x[..., : x.shape[-1] // 2 * 2 : 2], x[..., 1::2]
        return torch.cat([a * c - b * z, a * z + b * c], -1)

    s = turned(q, c, z) @ turned(k, ck, zk).mT
    return torch.softmax(s / math.sqrt(q.shape[-1]), -1) @ v


def _talking(q: Tensor, k: Tensor, v: Tensor, m: Tensor, w: Tensor) -> Tensor:
    mixed = torch.einsum("bgij,gm->bmij", q @ k.mT, m) / math.sqrt(q.shape[-1])
    return torch.einsum("bmij,mh->bhij", torch.softmax(mixed, -1), w) @ v


def _reattention(q: Tensor, k: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return torch.einsum("bgij,gh->bhij", torch.softmax(q @ k.mT, -1), w) @ v


def _cross_covariance(q: Tensor, k: Tensor, v: Tensor, t: Tensor) -> Tensor:
    q, k = (torch.nn.functional.normalize(x, dim=-2) for x in (q, k))
    return v @ torch.softmax(q.mT @ k * t[:, None, None], -1).mT


def _efficient(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q, -1) @ (torch.softmax(k, -2).mT @ v)


@dataclass(frozen=True)
class Mechanism:
    """A text, its formula, and what of its inputs has which extents; ``n`` is the length."""

    text: str
    formula: Callable[..., Tensor]
    sizes: dict[str, int]


MECHANISMS = {
    "rotary pairs": Mechanism(ROTARY_PAIRS, _rotary, {"b": 2, "h": 2, "d": 18, "e": 8, "p": 9}),
    "talking heads": Mechanism(TALKING_HEADS, _talking, {"b": 1, "g": 3, "m": 4, "h": 2, "d": 8, "e": 8}),
    "re-attention": Mechanism(REATTENTION, _reattention, {"b": 2, "g": 3, "h": 4, "d": 8, "e": 8}),
    "cross-covariance": Mechanism(CROSS_COVARIANCE, _cross_covariance, {"b": 2, "h": 2, "d": 8, "c": 9}),
    "efficient": Mechanism(EFFICIENT, _efficient, {"b": 2, "h": 2, "d": 8, "e": 9}),
}
LENGTHS = (1, 37, 600)


def _arguments(mechanism: Mechanism, length: int) -> list[Tensor]:
    torch.manual_seed(length)
    sizes = {"i": length, "j": length + 3, "n": length} | mechanism.sizes
    inputs = attn_dsl.compile(mechanism.text).cascade.inputs
    return [torch.randn([sizes[d] for d in i.dims], dtype=torch.float64) for i in inputs]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", MECHANISMS)
def test_forward_and_backward(name: str, length: int) -> None:
    mechanism = MECHANISMS[name]
    attention = attn_dsl.compile(mechanism.text, target="cpu")
    mine, plain = ([t.requires_grad_() for t in _arguments(mechanism, length)] for _ in range(2))
    found, expected = attention(*mine), mechanism.formula(*plain)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, plain, weights)
    for one, other in zip(torch.autograd.grad(found, mine, weights), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["rotary pairs", "talking heads", "re-attention"])
def test_no_pairs_are_stored(name: str) -> None:
    mechanism = MECHANISMS[name]
    cascade = attn_dsl.compile(mechanism.text).cascade
    found = plan(cascade, {}, sizes={"i": 600, "j": 603} | mechanism.sizes)
    stored = [{*found.flow.dims(t)} for kernel in found.kernels for t in kernel.stores]
    assert stored
    assert not any({"i", "j"} <= dims for dims in stored)


def test_a_length_costs_no_compilation() -> None:
    """Not even where the tokens are what is contracted: 16,384 of them do not fit in a tile."""
    mechanism = MECHANISMS["cross-covariance"]
    attention = attn_dsl.compile(mechanism.text, target="cpu")
    for length in (600, 4097, 16384):
        arguments = [t.float() for t in _arguments(mechanism, length)]
        torch.testing.assert_close(attention(*arguments), mechanism.formula(*arguments), rtol=1e-4, atol=1e-4)
    assert len(attention.kernels._programs) == 1  # pyright: ignore[reportPrivateUsage]


def test_classes() -> None:
    found = [length_of(n) for n in (0, 1, 2, 64, 65, 512, 513, 10**9)]
    one, few, some, many = Length
    assert found == [one, one, few, few, some, some, many, many]


def test_what_the_layout_decides_is_not_asked() -> None:
    """Of ordinary attention nothing but whether there is one query is part of what its program is specialised on."""
    dense = attn_dsl.compile(EXAMPLES / "basic" / "dense.attn").cascade
    assert [*plan(dense, {}).extents.asked] == ["i"]
    assert plan(dense, {}, sizes={"i": 3}) is plan(dense, {}, sizes={"i": 3000})


@pytest.mark.parametrize("features", [64, 300])
def test_features_that_do_not_lie_innermost_are_held_by_a_tile(features: int) -> None:
    text = (EXAMPLES / "basic" / "dense.attn").read_text()
    text = (
        text.replace("i, d]", "d, i]")
        .replace("j, d]", "d, j]")
        .replace("i,d]", "d,i]")
        .replace("j,d]", "d,j]")
    )
    found = plan(load_text(text).cascade, {}, sizes={"i": 600, "j": 600, "d": features})
    assert "d" in found.whole
    assert len(found.kernels) == 1
