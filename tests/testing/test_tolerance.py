"""The bounds: correct kernels are within them, wrong ones are not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from attn_dsl.language.load import load_text
from attn_dsl.testing.rounding import Bounded, bounded_results
from attn_dsl.testing.tolerance import bounds, compare
from tests.testing.kernels import CAUSAL, flash

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
SIZES = {"b": 2, "h": 2, "i": 100, "j": 90, "d": 64, "e": 48}


def causal_arguments(dtype: torch.dtype, scale: float = 1.0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {"Q": "bhid", "K": "bhjd", "V": "bhje"}
    made = {n: torch.randn([SIZES[c] for c in s], generator=generator) for n, s in shapes.items()}
    return {n: (t * (scale if n != "V" else 1.0)).to(dtype) for n, t in made.items()}


def meaning(text: str, arguments: dict[str, Tensor], sizes: dict[str, int]) -> dict[str, Bounded]:
    return bounded_results(load_text(text).cascade, {}, arguments, sizes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("tile", [16, 128])
def test_a_correct_kernel_is_within_its_bounds(dtype: torch.dtype, scale: float, tile: int) -> None:
    arguments = causal_arguments(dtype, scale)
    expected = meaning(CAUSAL, arguments, SIZES)["O"]
    result = flash(**arguments, tile=tile)
    comparison = compare(result, expected)
    assert comparison.wrong == 0, str(comparison)
    assert comparison.unjudged == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bounds_are_tight(dtype: torch.dtype) -> None:
    """A few roundings of the values, so that an error of that size is seen."""
    arguments = causal_arguments(dtype)
    expected = meaning(CAUSAL, arguments, SIZES)["O"]
    share = bounds(expected, dtype) / (arguments["V"].abs().double().mean() * torch.finfo(dtype).eps)
    assert share.median() < (500 if dtype is torch.float32 else 2)


@pytest.mark.parametrize(
    ("dtype", "fault"),
    [
        *((dtype, {"strict": True}) for dtype in DTYPES),
        *((dtype, {"skipped": 17}) for dtype in DTYPES),
        (torch.float32, {"accumulator": torch.float16}),
        (torch.float16, {"accumulator": torch.bfloat16}),
    ],
)
def test_a_wrong_kernel_is_found(dtype: torch.dtype, fault: dict[str, object]) -> None:
    arguments = causal_arguments(dtype)
    expected = meaning(CAUSAL, arguments, SIZES)["O"]
    assert compare(flash(**arguments, **fault), expected).wrong > 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_wrong_element_in_a_thousand_is_found(dtype: torch.dtype) -> None:
    """Each off by a few percent of the values' size."""
    arguments = causal_arguments(dtype)
    expected = meaning(CAUSAL, arguments, SIZES)["O"]
    result = flash(**arguments)
    spoilt = torch.arange(result.numel()).view(result.shape) % 1000 == 7
    result = torch.where(spoilt, result + 0.03, result)
    comparison = compare(result, expected)
    assert comparison.wrong == int(spoilt.sum())
    assert comparison.worst is not None
    assert bool(spoilt[comparison.worst])


def test_the_report_names_the_worst_element() -> None:
    expected = Bounded(torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double(), torch.full((2, 2), 0.01).double())
    comparison = compare(torch.tensor([[1.0, 2.0], [3.5, 4.1]]), expected)
    assert comparison.wrong == 2
    assert str(comparison) == (
        "2 of 4 elements are wrong; the worst at [1, 0]: 3.5, which should be 3 ± 0.01"
    )


def test_nan_and_infinities_must_be_the_same() -> None:
    nan, inf = torch.nan, torch.inf
    expected = Bounded(torch.tensor([nan, nan, inf, inf, 1.0, 1.0]).double(), torch.zeros(6).double())
    result = torch.tensor([nan, 0.0, inf, -inf, nan, inf])
    assert [compare(result[k : k + 1], Bounded(expected.value[k : k + 1], expected.error[k : k + 1])).wrong
            for k in range(6)] == [0, 1, 0, 1, 1, 1]  # fmt: skip


@pytest.mark.parametrize("special", [torch.nan, torch.inf, -torch.inf])
def test_special_values_are_judged(special: float) -> None:
    """A key that is NaN spoils the rows that see it, and no others."""
    arguments = causal_arguments(torch.float32)
    arguments["V"][:, :, 60, 5] = special
    expected = meaning(CAUSAL, arguments, SIZES)["O"]
    result = flash(**arguments)
    result[:, :, :60, 5] = flash(**{**arguments, "V": arguments["V"].nan_to_num(0.0)})[:, :, :60, 5]
    comparison = compare(result, expected)
    assert comparison.wrong == 0, str(comparison)
    assert comparison.unjudged < 0.01 * comparison.elements
    result[:, :, 60:, 5] = 0.0
    assert compare(result, expected).wrong == 2 * 2 * 40


def test_what_a_comparison_within_rounding_decides_is_not_judged() -> None:
    text = """attention threshold
        input x[i, d], y[d], v[i]
        S[i] += x[i,d] * y[d]
        Y[i]  = v[i]  where S[i] > 1
        output Y[i]"""
    x = torch.tensor([[0.5, 0.5], [0.25, 0.25], [2.0, 2.0]])
    arguments = {"x": x, "y": torch.ones(2), "v": torch.ones(3)}
    expected = meaning(text, arguments, {"i": 3, "d": 2})["Y"]
    assert expected.error.isinf().tolist() == [True, False, False]
    assert compare(torch.tensor([1.0, 0.0, 1.0]), expected).wrong == 0
    assert compare(torch.tensor([0.0, 1.0, 0.0]), expected).wrong == 2


def test_a_decision_by_integers_is_always_judged() -> None:
    text = """attention decided
        input x[i, j]
        Y[i] += x[i,j]  where (i * 7 + j) // 3 % 2 == 0 and not (j > 2 * i)
        output Y[i]"""
    x = torch.randn(6, 9)
    assert bool(meaning(text, {"x": x}, {"i": 6, "j": 9})["Y"].error.isfinite().all())


def test_cancellation_widens_the_bound() -> None:
    """a c - b c may be computed as such: its error is that of the terms, not of their difference."""
    text = """attention difference
        input a[i, j], b[i, j], c[j]
        D[i,j] = exp(a[i,j]) - exp(b[i,j])
        Y[i]  += D[i,j] * c[j]
        output Y[i]"""
    a = torch.randn(5, 33).bfloat16()
    arguments = {"a": a, "b": a, "c": torch.randn(33).bfloat16()}
    expected = meaning(text, arguments, {"i": 5, "j": 33})["Y"]
    size = (a.double().exp() * arguments["c"].double().abs()).sum(-1)
    assert expected.value.abs().max() == 0
    assert bool((expected.error > 2.0**-8 * size).all())
    assert bool((expected.error < 2.0**-4 * size).all())


@pytest.mark.parametrize(
    ("body", "computed"),
    [
        ("exp(x[i])", lambda x: torch.exp(x)),
        ("x[i] ** 3 / 7", lambda x: x * x * x / 7),
        ("sqrt(abs(x[i])) + sin(x[i])", lambda x: x.abs().sqrt() + x.sin()),
        ("sigmoid(x[i]) * tanh(x[i])", lambda x: x.sigmoid() * x.tanh()),
        ("log1p(exp(x[i]))", lambda x: torch.log1p(torch.exp(x))),
        ("x[i] if x[i] > 0 else -x[i]", lambda x: x.abs()),
        ("default(x[i + 1], x[i])", lambda x: torch.cat([x[1:], x[-1:]])),
        ("f32(f16(x[i]))", lambda x: x.half().float()),
    ],
)
def test_pointwise_bounds_hold_and_are_small(body: str, computed) -> None:
    x = torch.randn(200, generator=torch.Generator().manual_seed(1))
    text = f"attention t\ninput x[i]\nY[i] = {body}\noutput Y[i]"
    expected = meaning(text, {"x": x}, {"i": 200})["Y"]
    assert compare(computed(x), expected).wrong == 0
    shifted = computed(x) + 1e-4 * (1 + computed(x).abs())
    assert compare(shifted, expected).wrong > 150 or "f16" in body


def test_exponentials_of_large_numbers_have_large_errors() -> None:
    """exp2(x log2 e) of a rounded product: relative error u |x|."""
    x = torch.tensor([1.0, 60.0, -60.0])
    expected = meaning("attention t\ninput x[i]\nY[i] = exp(x[i])\noutput Y[i]", {"x": x}, {"i": 3})["Y"]
    assert compare(torch.exp2(x * math.log2(math.e)), expected).wrong == 0
    relative = expected.error / expected.value
    assert relative[1] > 30 * relative[0]


@pytest.mark.parametrize("operator", ["+", "*", "max", "min", "mean"])
def test_reductions_in_single_precision(operator: str) -> None:
    by_hand = {"+": torch.sum, "*": torch.prod, "max": torch.amax, "min": torch.amin, "mean": torch.mean}
    x = torch.randn(40, 25, generator=torch.Generator().manual_seed(2))
    text = f"attention t\ninput x[i, j]\nE[i,j] = exp(x[i,j])\nY[i] {operator}= E[i,j]\noutput Y[i]"
    expected = meaning(text, {"x": x}, {"i": 40, "j": 25})["Y"]
    result = by_hand[operator](x.exp(), -1)
    assert compare(result, expected).wrong == 0
    assert compare(result * 1.0003, expected).wrong == 40


def test_rankings_are_judged_where_the_order_is_certain() -> None:
    text = """attention t
        input x[i, c]
        E[i,c] = exp(x[i,c])
        T[i,c] = topk[c](E[i,c], 1)
        A[i]   = argmax[c](E[i,c])
        output T[i, c], A[i]"""
    x = torch.tensor([[1.0, 2.0, 0.0], [1.0, 1.0, 0.0]])
    expected = meaning(text, {"x": x}, {"i": 2, "c": 3})
    assert expected["T"].error.isinf().any(-1).tolist() == [False, True]
    assert expected["A"].error.tolist() == [0.0, math.inf]
    assert compare(torch.tensor([[False, True, False], [False, True, False]]), expected["T"]).wrong == 0
    assert compare(torch.tensor([[True, False, False], [False, True, False]]), expected["T"]).wrong == 2


@pytest.mark.parametrize("score", [80.0, 90.0, 300.0])
def test_a_quotient_of_what_underflows_is_not_judged(score: float) -> None:
    """In f32 both weights are 0, and 0 / 0 is NaN; in f64 they are small and have a ratio."""
    text = """attention ratio
        input s[i, j], V[j]
        P[i,j] = l1_normalise[j](exp(-s[i,j]))
        O[i]  += P[i,j] * V[j]
        output O[i]"""
    arguments = {"s": torch.tensor([[score, score + 3]]), "V": torch.ones(2)}
    bound = meaning(text, arguments, {"i": 1, "j": 2})["O"].error
    assert bool(bound.isinf().all()) == (score > 85)


def test_a_sum_in_which_infinite_terms_meet_may_be_infinite_or_nan() -> None:
    """A factor is taken out of a sum, and c * (w . v) is infinite where the sum of c * w * v is NaN."""
    text = (
        "attention a\ninput c[i], w[i,j], v[j]\nP[i,j] = w[i,j] * c[i]\nO[i] += P[i,j] * v[j]\noutput O[i]\n"
    )
    c, w, v = torch.tensor([-torch.inf, 1.0]), torch.ones(2, 2), torch.tensor([2.0, -1.0])
    found = bounded_results(load_text(text).cascade, {}, {"c": c, "w": w, "v": v}, {"i": 2, "j": 2})["O"]
    assert found.value.isnan().tolist() == [True, False]
    assert found.error.isinf().tolist() == [True, False]
    nan = bounded_results(
        load_text(text).cascade, {}, {"c": c.abs(), "w": w * torch.nan, "v": v}, {"i": 2, "j": 2}
    )["O"]
    assert nan.value.isnan().all()
    assert not nan.error.isinf().any()  # NaN in the data stays NaN


def test_gelu_far_below_zero_is_off_by_the_rounding_of_its_sum() -> None:
    """torch's own f32 kernel gives -0 where f64 still has -5e-16."""
    x = torch.tensor([-8.3, -20.0, 3.0])
    found = bounded_results(
        load_text("attention a\ninput X[i]\nO[i] = gelu(X[i])\noutput O[i]\n").cascade, {}, {"X": x}, {"i": 3}
    )["O"]
    assert compare(torch.nn.functional.gelu(x), found).wrong == 0
    assert bool((found.error < 1e-5).all())
