"""Operators of reals at the ends of their range. Right is torch in f32: remainders are exact, NaN wins."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from tests.numbers.evaluators import EVALUATORS, evaluate, pointwise, same

inf, nan = float("inf"), float("nan")
SPECIAL = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 7.0, 0.1, -0.1, 1e8, -1e8, 3e9, 1e30, -1e30, 1e-30,
    3.4e38, -3.4e38, inf, -inf, nan,
]  # fmt: skip
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "{a} % {b}": lambda a, b: torch.remainder(a.double(), b.double()),  # in f32, vectors of torch are inexact
    "{a} // {b}": torch.floor_divide,
    "{a} ** {b}": torch.pow,
    "max({a}, {b})": torch.maximum,
    "min({a}, {b})": torch.minimum,
    "clamp({a}, {b}, 1.0)": lambda a, b: torch.minimum(torch.maximum(a, b), torch.ones(())),
    "relu({a})": lambda a, b: torch.relu(a),
    "abs({a})": lambda a, b: a.abs(),
    "{a} / {b}": torch.div,
    "{a} if {a} < {b} else {b}": lambda a, b: torch.where(a < b, a, b),
}
NAMES = {f"Y{at}": text for at, text in enumerate(BINARY)}
TEXT = pointwise(NAMES, ["f32", "f32"], "f32")
# The quotient of `//` may be rounded; a power has three units in the last place, and what is below 2**-126 is
# 0.
TOLERANCE = {"{a} ** {b}": 1e-5, "{a} // {b}": 2e-7, "{a} / {b}": 3e-7}


def check(a: Tensor, b: Tensor) -> None:
    for evaluator in EVALUATORS:
        found = evaluate(evaluator, TEXT, [a, b])
        for value, (text, right) in zip(found, BINARY.items(), strict=True):
            wanted = right(a, b)
            tiny = (wanted.abs() < 1.2e-38) & (value.abs() < 1.2e-38)
            # In f64, what f32 cannot hold is finite.
            huge = (wanted.abs() == inf) & (value.abs() > 3.3e38) & (wanted.sign() == value.sign())
            value = torch.where(tiny | huge, wanted.double(), value.double())
            assert same(value, wanted, TOLERANCE.get(text, 2e-7)), (evaluator, text, a, b, value, wanted)


def test_all_pairs_of_special_values() -> None:
    pairs = torch.tensor(list(itertools.product(SPECIAL, SPECIAL)))
    check(pairs[:, 0].contiguous(), pairs[:, 1].contiguous())


reals = st.one_of(st.sampled_from(SPECIAL), st.floats(width=32, allow_subnormal=False))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(reals, reals), min_size=8, max_size=8))
def test_any_pairs(pairs: list[tuple[float, float]]) -> None:
    values = torch.tensor(pairs, dtype=torch.float32)
    check(values[:, 0].contiguous(), values[:, 1].contiguous())


def test_remainders_are_exact() -> None:
    multiples = torch.arange(1, 1000, dtype=torch.float32) * 0.1
    a = torch.cat([torch.tensor([1e8, 3e9, 1.0, -1.0, 1e38, 5.0]), multiples])
    b = torch.cat([torch.tensor([3.0, 7.0, inf, inf, 1e-38, -3.0]), torch.full_like(multiples, 0.1)])
    right = torch.remainder(a.double(), b.double())
    assert right[:4].tolist() == [1.0, 4.0, 1.0, inf] and (right[6:] >= 0).all()
    for evaluator in EVALUATORS:
        assert same(evaluate(evaluator, TEXT, [a, b])[0], right), evaluator


EXTREMA = """attention extrema
input X[c, j]
M[c] max= X[c,j]
N[c] min= X[c,j]
output M[c], N[c]
"""


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_nan_wins_in_reductions(evaluator: str) -> None:
    for length, at in itertools.product((1, 4, 200), (0, -1)):
        x = torch.randn(3, length)
        x[1, at] = nan
        x[2, at] = inf
        for found, right in zip(evaluate(evaluator, EXTREMA, [x]), (x.amax(1), x.amin(1)), strict=True):
            assert same(found, right)


NOTHING = """attention nothing
input X[c, j]
A[c] += X[c,j] where j >= 100
B[c] max= X[c,j] where j >= 100
C[c] mean= X[c,j] where j >= 100
D[c] *= X[c,j] where j >= 100
E[c] = default(B[c], -inf)
output A[c], B[c], C[c], D[c], E[c]
"""


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_reductions_of_nothing(evaluator: str) -> None:
    found = evaluate(evaluator, NOTHING, [torch.full((2, 5), nan)])
    assert [f.tolist() for f in found] == [[0.0, 0.0]] * 4 + [[-inf, -inf]]


TURNS = pointwise({"S": "sin({a})", "C": "cos({a})", "T": "tan({a})"}, ["f32"], "f32")


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_angles_of_any_size(evaluator: str) -> None:
    x = torch.cat(
        [10.0 ** torch.linspace(-6, 38, 400), torch.tensor([1e8, 2.0**51, 2.0**60, 3.4e38, inf, nan])]
    )
    x = torch.cat([x, -x])
    for found, right in zip(
        evaluate(evaluator, TURNS, [x]), (x.double().sin(), x.double().cos()), strict=False
    ):
        assert torch.allclose(found.double(), right, rtol=1e-6, atol=1e-6, equal_nan=True)
