"""bf16 under interpretation: conversions are torch's, and contractions multiply numbers, not bits."""

from __future__ import annotations

import numpy as np
import torch

import attn_dsl
from attn_dsl.runtime.bfloat16 import narrow, widen


def test_conversion_rounds_as_torch_does() -> None:
    numbers = torch.randn(1000) * 10.0 ** torch.randint(-30, 30, (1000,))
    expected = numbers.to(torch.bfloat16)
    bits = narrow(numbers.numpy())
    assert np.array_equal(bits, expected.view(torch.uint16).numpy())
    assert np.array_equal(widen(bits), expected.float().numpy())


def test_nan_and_infinity_survive() -> None:
    back = widen(narrow(np.array([np.nan, np.inf, -np.inf], np.float32)))
    assert np.isnan(back[0]) and back[1] == np.inf and back[2] == -np.inf


def test_a_product_of_bf16_matrices_is_exact_up_to_its_rounding() -> None:
    text = "attention product\ninput A[i, d], B[j, d], C[j, e]\nS[i,j] += A[i,d] * B[j,d]\n"
    text += "O[i,e] += S[i,j] * C[j,e]\noutput O[i, e]\n"
    a, b = (torch.randint(-2, 3, (n, 16)).to(torch.bfloat16) for n in (5, 7))
    c = torch.eye(7, 16, dtype=torch.bfloat16)
    result = attn_dsl.compile(text)(a, b, c)
    assert torch.equal(result[:, :7].double(), a.double() @ b.double().T)
