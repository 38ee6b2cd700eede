"""Every example's kernels, run by Triton's interpreter, agree with the float64 reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import attn_dsl
from tests.examples.cases import CASES, EXAMPLES, example_names

# Selection by rank and keyed reductions have no kernels yet: their own test says how that is told.
NOT_LOWERED = {"coming/block_selection": "topk", "coming/diagonal_sums": "keyed reduction"}
LOWERED = [name for name in example_names() if name not in NOT_LOWERED]
# Times the unit roundoff of the dtype, an element may differ by this much of the largest result: a few
# roundings in the scores, amplified by the exponential, and one in the weights.
ROUNDINGS = 64
# Two inputs carry numbers whose range f16 and bf16 cannot hold to that precision.
SINGLE_ONLY = {"cache/eight_bit", "cache/two_bit", "cache/two_bit_recent", "normalisers/softplus_reweighted"}


def compiled(name: str) -> attn_dsl.Attention:
    return attn_dsl.compile(EXAMPLES / f"{name}.attn", params=dict(CASES[name].params))


def arguments(attention: attn_dsl.Attention, name: str, dtype: torch.dtype) -> dict[str, Tensor]:
    given = CASES[name].arguments(attention.cascade)
    free = {i.name for i in attention.cascade.inputs if i.dtype is None}
    fixed = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
    for declared in attention.cascade.inputs:
        if declared.name in free:
            given[declared.name] = given[declared.name].to(dtype)
        elif declared.dtype in fixed:
            given[declared.name] = given[declared.name].to(fixed[declared.dtype])
    return given


def assert_agree(attention: attn_dsl.Attention, given: dict[str, Tensor], roundoff: float) -> None:
    results, expected = attention(**given), attention.reference(**given)
    results = results if isinstance(results, tuple) else (results,)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for result, value in zip(results, expected, strict=True):
        assert result.shape == value.shape
        wide, value = result.double(), value.double()
        assert torch.equal(wide.isnan(), value.isnan())
        scale = value[value.isfinite()].abs().max().item() if value.isfinite().any() else 1.0
        error = (wide - value).nan_to_num(0.0, 0.0, 0.0).abs().max().item() if value.numel() else 0.0
        assert error <= ROUNDINGS * roundoff * max(scale, 1.0), f"off by {error:.2e} of {scale:.2e}"


@pytest.mark.parametrize("name", LOWERED)
def test_single_precision(name: str) -> None:
    attention = compiled(name)
    assert_agree(attention, arguments(attention, name, torch.float32), 2.0**-24 * 32)


@pytest.mark.parametrize("name", [n for n in LOWERED if n not in SINGLE_ONLY])
def test_bf16(name: str) -> None:
    attention = compiled(name)
    assert_agree(attention, arguments(attention, name, torch.bfloat16), 2.0**-8)


@pytest.mark.parametrize(("name", "construct"), NOT_LOWERED.items())
def test_what_is_not_lowered_says_so(name: str, construct: str) -> None:
    attention = compiled(name)
    given = arguments(attention, name, torch.float32)
    with pytest.raises(attn_dsl.NotLoweredError, match=construct) as caught:
        attention(**given)
    assert f"{name}.attn:" in str(caught.value) and "= help:" in str(caught.value)
