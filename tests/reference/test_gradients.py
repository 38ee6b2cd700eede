"""Gradients through the reference: true ones, and no NaN from what does not exist."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from tests.reference.meaning import meaning, normal

ATTENTION = """
    input Q[i, d], K[j, d], V[j, e]
    S[i,j] += Q[i,d] * K[j,d]
    X[i,j]  = {score}  where {guard}
    P[i,j]  = {weight}
    O[i,e] += P[i,j] * V[j,e]
    output O[i, e]"""


@pytest.mark.parametrize(
    ("score", "guard", "weight"),
    [
        ("S[i,j] / sqrt(size(d))", "j <= i", "softmax[j](X[i,j])"),
        ("S[i,j]", "j < i", "softmax[j](X[i,j])"),
        ("S[i,j]", "j < i and S[i,j] > -0.5", "softmax_sink[j](X[i,j], 0.3)"),
        ("softcap(S[i,j], 3.0)", "j <= i", "sigmoid(X[i,j])"),
        ("S[i,j]", "j <= i", "l1_normalise[j](X[i,j])"),
        ("log(S[i,j]) if S[i,j] > 0.1 else S[i,j]", "j <= i", "softmax[j](X[i,j])"),
        ("default(S[i,j + 1], S[i,j]) * 2 ** (j - i)", "True", "softplus(X[i,j]) / (j + 1)"),
    ],
)
def test_first_and_second_derivatives(score: str, guard: str, weight: str) -> None:
    text = ATTENTION.format(score=score, guard=guard.replace("True", "j >= 0"), weight=weight)

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return meaning(text, {"Q": q, "K": k, "V": v})["O"]

    inputs = [normal(*shape, seed=s).requires_grad_() for s, shape in enumerate([(4, 2), (5, 2), (5, 2)])]
    assert gradcheck(attention, inputs)
    assert gradgradcheck(attention, inputs)


def gradient(text: str, *inputs: Tensor) -> list[Tensor]:
    """Of the sum of Y with respect to x, y, ..."""
    leaves = [t.clone().requires_grad_() for t in inputs]
    meaning(text, dict(zip("xyz", leaves, strict=False)))["Y"].sum().backward()
    return [t.grad if t.grad is not None else torch.zeros_like(t) for t in leaves]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("log(x[i]) if x[i] > 0 else 0", [0, 0, 0.5]),
        ("sqrt(x[i])  where x[i] > 0", [0, 0, 1 / (2 * 2**0.5)]),
        ("(1 / x[i])  where x[i] != 0", [-1, 0, -0.25]),
        ("x[i] * x[i + 1]", [0, 1, 0]),
        ("default(x[i + 1] / x[i], x[i] ** 2)", [0, 0, 4]),
        ("detach(x[i]) * x[i]", [-1, 0, 2]),
        ("rsqrt(abs(x[i])) if x[i] != 0 and i > 1 else x[i]", [1, 1, -0.5 * 2**-1.5]),
    ],
)
def test_what_does_not_count_sends_no_gradient(body: str, expected: list[float]) -> None:
    x = torch.tensor([-1.0, 0.0, 2.0]).double()
    text = f"input x[i]\nT[i] = {body}\nY += T[i]\noutput Y"
    if "x[i + 1] / x[i]" in body:
        text = "input x[i]\nT[i] = default(x[i + 1] / x[i], x[i] ** 2)  where i != 1\nY += T[i]\noutput Y"
        expected = [0, -1, 4]
    assert_close(gradient(text, x)[0], torch.tensor(expected).double())


def test_no_gradient_through_a_masked_infinity() -> None:
    text = "input x[i, j], y[j]\nY[i] += x[i,j] * exp(y[j])  where j <= i\noutput Y[i]"
    x, y = normal(2, 3), normal(3, seed=1)
    x[:, 2], y[2] = torch.inf, torch.nan
    dx, dy = gradient(text, x, y)
    assert_close(dx, torch.tensor([[1.0, 0, 0], [1, 1, 0]]) * y.nan_to_num().exp())
    assert_close(
        dy, torch.where(torch.tensor([True, True, False]), x.tril().nan_to_num().sum(0) * y.exp(), 0.0)
    )


def test_a_row_without_keys_has_zero_gradients() -> None:
    text = ATTENTION.format(score="S[i,j]", guard="j < 0", weight="softmax[j](X[i,j])")
    leaves = [normal(4, 2, seed=s).requires_grad_() for s in range(3)]
    meaning(text, dict(zip("QKV", leaves, strict=True)))["O"].sum().backward()
    for leaf in leaves:
        assert_close(leaf.grad, torch.zeros(4, 2).double())


def test_products_and_keyed_maxima() -> None:
    product = "input x[i, j]\nY[i] *= x[i,j]  where j != 1\noutput Y[i]"
    x = torch.tensor([[2.0, 5.0, 3.0], [0.0, 5.0, 3.0]]).double()
    assert_close(gradient(product, x)[0], torch.tensor([[3.0, 0, 2], [3, 0, 0]]).double())
    keyed = "input x[i, j]\nindex o < 2\nM[j // 2] max= x[i,j]\nY += M[o]\noutput Y, M[o]"
    leaf = torch.tensor([[1.0, 4.0, 2.0], [3.0, 0.0, 5.0]]).double().requires_grad_()
    meaning(keyed, {"x": leaf}, o=2)["Y"].backward()
    assert_close(leaf.grad, torch.tensor([[0.0, 1, 0], [0, 0, 1]]).double())


def test_what_goes_back_through_a_cast_is_not_rounded() -> None:
    text = "input x[i], y[i]\nY[i] = f16(x[i]) * y[i]\noutput Y[i]"
    y = normal(3, seed=1)
    assert torch.equal(gradient(text, normal(3, seed=0), y)[0], y)
    _, tangent = torch.func.jvp(
        lambda x: meaning(text, {"x": x, "y": y})["Y"], (normal(3, seed=0),), (torch.ones(3).double(),)
    )
    assert torch.equal(tangent, y)
