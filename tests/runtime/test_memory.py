"""Arguments whose values are not what lies at their address, and tensors made while another device is the
default."""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import attn_dsl
from attn_dsl.errors import ArgumentError
from attn_dsl.runtime.memory import stored

PLAIN = """attention plain
input Q[b, i, d], K[b, j, d], V[b, j, e]
S[b,i,j] += Q[b,i,d] * K[b,j,d]
P[b,i,j]  = softmax[j](S[b,i,j])
O[b,i,e] += P[b,i,j] * V[b,j,e]
output O[b, i, e]
"""
TARGETS = pytest.mark.parametrize("target", ["cpu", "interpreter"])


def dense(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.softmax(query @ key.mT, -1) @ value


def negated(*shape: int) -> Tensor:
    """A view that stands for the negative of what lies in memory."""
    view = torch.randn(*shape, dtype=torch.complex64).conj().imag
    assert view.is_neg()
    return view


@TARGETS
@pytest.mark.parametrize("which", range(3))
def test_views_with_the_negative_bit(which: int, target: str) -> None:
    attention = attn_dsl.compile(PLAIN, target=target)
    given = [torch.randn(2, 9, 8) for _ in range(3)]
    attention(*given)  # calls of these shapes are known from here on
    given[which] = negated(2, 9, 8)
    torch.testing.assert_close(attention(*given), dense(*given))
    plain = torch.empty_strided(given[which].shape, given[which].stride()).copy_(given[which])
    torch.testing.assert_close(attention(*given), dense(*[*given[:which], plain, *given[which + 1 :]]))


def test_gradients_of_and_by_views_with_the_negative_bit() -> None:
    attention = attn_dsl.compile(PLAIN, target="cpu")
    z, key = torch.randn(2, 9, 8, dtype=torch.complex64), torch.randn(2, 9, 8)

    def gradients(function: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        leaf, other = z.clone().requires_grad_(), key.clone().requires_grad_()
        out = function(leaf.conj().imag, other, other)
        return torch.autograd.grad(out, (leaf, other), torch.randn_like(z).conj().imag)

    torch.manual_seed(1)
    found = gradients(attention)
    torch.manual_seed(1)
    for one, right in zip(found, gradients(dense), strict=True):
        torch.testing.assert_close(one, right)


@TARGETS
def test_another_default_device(target: str) -> None:
    attention = attn_dsl.compile(PLAIN, target=target)
    given = [torch.randn(2, 9, 8, requires_grad=True) for _ in range(3)]
    adjoint = torch.ones(2, 9, 8)
    right = torch.autograd.grad(dense(*given), given, adjoint)
    with torch.device("meta"):
        out = attention(*given)
        found = torch.autograd.grad(out, given, adjoint)
    torch.testing.assert_close(out, dense(*given))
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other)


def test_keyed_sums_under_another_default_device() -> None:
    text = """attention t
input x[i, j], s[j]: i32
index n < 4
T[i, s[j]] += x[i,j]
output T[i, n]
"""
    keys = torch.tensor([0, 1, 1, 3], dtype=torch.int32)
    values = torch.ones(3, 4)
    attention = attn_dsl.compile(text, target="cpu")
    with torch.device("meta"):
        found = attention(values, keys)
    assert found.tolist() == [[1, 2, 0, 1]] * 3


def test_an_adjoint_that_stands_for_zeros() -> None:
    attention = attn_dsl.compile(PLAIN, target="cpu")
    given = [torch.randn(2, 9, 8, requires_grad=True) for _ in range(3)]
    for _ in range(2):  # the second call is prepared
        found = torch.autograd.grad(attention(*given), given, torch._efficientzerotensor((2, 9, 8)))
        assert all(torch.count_nonzero(g) == 0 for g in found)


def test_a_tangent_that_stands_for_zeros() -> None:
    attention = attn_dsl.compile(PLAIN, target="cpu")
    given = [torch.randn(2, 9, 8) for _ in range(3)]
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(given[0], torch._efficientzerotensor((2, 9, 8)))
        tangent = forward_ad.unpack_dual(attention(dual, *given[1:])).tangent
    assert tangent is None or torch.count_nonzero(tangent) == 0


def test_no_pointer_without_memory_reaches_a_kernel() -> None:
    empty = torch.randn(4)
    empty.untyped_storage().resize_(0)
    with pytest.raises(ArgumentError, match="has no memory"):
        stored({"Q": empty})
    with pytest.raises(ArgumentError, match="is on meta"):
        stored({"Q": torch.ones(3), "K": torch.ones(3, device="meta")})


def test_an_argument_that_is_called_self() -> None:
    text = PLAIN.replace("Q[", "self[")
    given = [torch.randn(2, 9, 8) for _ in range(3)]
    attention = attn_dsl.compile(text, target="cpu")
    torch.testing.assert_close(attention(self=given[0], K=given[1], V=given[2]), dense(*given))
    torch.testing.assert_close(
        attention.reference(self=given[0], K=given[1], V=given[2]).float(), dense(*given)
    )
