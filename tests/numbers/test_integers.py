"""Operators of integers at the ends of their types: 64 bits in the midst, the declared width at the end.
Right is Python's arithmetic, wrapped."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from tests.numbers.evaluators import EVALUATORS, evaluate, pointwise

DTYPES = {"i8": torch.int8, "u8": torch.uint8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64}


def wrapped(value: int, dtype: torch.dtype) -> int:
    """The bits of a number that a type holds."""
    limits = torch.iinfo(dtype)
    return (value - limits.min) % (limits.max - limits.min + 1) + limits.min


def power(a: int, b: int) -> int:
    if b >= 0:
        return pow(a, b, 2**64)
    return a ** (b % 2) if abs(a) == 1 else 0


BINARY: dict[str, Callable[[int, int], int]] = {
    "{a} + {b}": lambda a, b: a + b,
    "{a} - {b}": lambda a, b: a - b,
    "{a} * {b}": lambda a, b: a * b,
    "{a} // {b}": lambda a, b: a // b if b else 0,
    "{a} % {b}": lambda a, b: a % b if b else 0,
    "{a} ** {b}": power,
    "{a} ** 3": lambda a, b: a**3,
    "{a} << {b}": lambda a, b: a << b if 0 <= b < 64 else 0,
    "{a} >> {b}": lambda a, b: a >> (b if 0 <= b < 64 else 63),
    "{a} & {b}": lambda a, b: a & b,
    "{a} | {b}": lambda a, b: a | b,
    "{a} ^ {b}": lambda a, b: a ^ b,
    "min({a}, {b})": min,
    "max({a}, {b})": max,
    "abs({a})": lambda a, b: abs(a),
    "-{a}": lambda a, b: -a,
    "relu({a})": lambda a, b: max(a, 0),
    "i8({a}) + u8({b})": lambda a, b: wrapped(a, torch.int8) + wrapped(b, torch.uint8),
    "({a} + {b}) // 2": lambda a, b: wrapped(a + b, torch.int64) // 2,
    "{a} << 30": lambda a, b: a << 30,
}
NAMES = {f"Y{at}": text for at, text in enumerate(BINARY)}


def ends(dtype: str) -> list[int]:
    """The values at which an operator may go wrong."""
    limits = torch.iinfo(DTYPES[dtype])
    near = [
        limits.min,
        limits.min + 1,
        -63,
        -3,
        -2,
        -1,
        0,
        1,
        2,
        3,
        30,
        31,
        32,
        63,
        64,
        limits.max - 1,
        limits.max,
    ]
    return sorted({v for v in near if limits.min <= v <= limits.max})


def check(dtype: str, result: str, pairs: list[tuple[int, int]]) -> None:
    a, b = (torch.tensor(column, dtype=DTYPES[dtype]) for column in zip(*pairs, strict=True))
    text = pointwise(NAMES, [dtype, dtype], result)
    for evaluator in EVALUATORS:
        for found, (name, right) in zip(evaluate(evaluator, text, [a, b]), BINARY.items(), strict=True):
            wanted = [wrapped(wrapped(right(x, y), torch.int64), DTYPES[result]) for x, y in pairs]
            wrong = [(p, f, w) for p, f, w in zip(pairs, found.tolist(), wanted, strict=True) if f != w]
            assert not wrong, (evaluator, name, wrong[:3])


CASES = [("i32", "i32"), ("i32", "i64"), ("i64", "i64"), ("i8", "i16"), ("u8", "i8")]


@pytest.mark.parametrize(("dtype", "result"), CASES)
def test_all_pairs_of_ends(dtype: str, result: str) -> None:
    check(dtype, result, list(itertools.product(ends(dtype), ends(dtype))))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1)), min_size=8, max_size=8
    )
)
def test_any_pairs(pairs: list[tuple[int, int]]) -> None:
    check("i32", "i32", pairs)


CASTS = pointwise({f"Y{d}": f"{d}({{a}})" for d in DTYPES}, ["f32"], "i64")


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_reals_become_the_nearest_integer_that_a_type_holds(evaluator: str) -> None:
    near = [
        127.0,
        128.0,
        -128.0,
        -129.0,
        255.0,
        256.0,
        2.0**15,
        2.0**31,
        -(2.0**31),
        2.0**63,
        -(2.0**63),
        1e30,
        -1e30,
    ]
    x = torch.tensor([0.0, -0.0, 0.9, -0.9, -1.5, *near, float("inf"), -float("inf"), float("nan")])
    for found, dtype in zip(evaluate(evaluator, CASTS, [x]), DTYPES.values(), strict=True):
        assert torch.equal(found, saturated(x, dtype)), dtype


def saturated(x: Tensor, dtype: torch.dtype) -> Tensor:
    limits = torch.iinfo(dtype)
    values = [
        0 if math.isnan(v) else limits.max if v > limits.max else limits.min if v < limits.min else int(v)
        for v in x.tolist()
    ]
    return torch.tensor(values)


def test_remainder_by_an_extent_of_nothing() -> None:
    text = "attention empty\ninput X[i], Z[k]\nY[i] = i % size(k) + i // size(k)\noutput Y[i]: i64\n"
    for evaluator in EVALUATORS:
        assert evaluate(evaluator, text, [torch.zeros(3), torch.zeros(0)]).tolist() == [0, 0, 0], evaluator
