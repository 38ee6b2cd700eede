"""Expressions: precedence is Python's, and every form prints back as it was meant."""

from __future__ import annotations

import pytest

from tests.language.loading import SCORES, refused, statements


def body(expression: str) -> str:
    """An expression over i and j as the cascade holds it."""
    return statements(f"A[i,j] = {expression}")[0].split(" = ", 1)[1]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("i + j * 2 ** w", "i + (j * (2 ** w))"),
        ("-i ** 2", "-(i ** 2)"),
        ("2 ** -i", "2 ** (-i)"),
        ("2 ** 3 ** w", "2 ** (3 ** w)"),
        ("i - j - w", "(i - j) - w"),
        ("i & j == w", "(i & j) == w"),
        ("i | j ^ w & 3 << 1 + 1", "i | (j ^ (w & (3 << (1 + 1))))"),
        ("not i < j and i < w or j < w", "((not (i < j)) and (i < w)) or (j < w)"),
        ("0 <= i - j < w", "0 <= i - j and i - j < w"),
        ("i if i < j else j if j < w else w", "i if (i < j) else (j if (j < w) else w)"),
        ("i // j % w", "(i // j) % w"),
        ("+i", "i"),
    ],
)
def test_precedence(written: str, meant: str) -> None:
    assert body(written) == body(meant)


def test_grouping_matters() -> None:
    assert body("(i + j) * 2") != body("i + j * 2")
    assert body("(-i) ** 2") != body("-i ** 2")
    assert body("i - (j - w)") != body("i - j - w")


@pytest.mark.parametrize(
    "call",
    ["min(i, j, w)", "clamp(i, 0, w)", "detach(c)", "default(c, 0.0)", "f32(i)", "i64(c)", "inf",
     "uniform(7)", "uniform(7, i, j, 0, 1)", "size(i) + size(j)", "1.5e-3", "sigmoid(c) * gelu(c)"],
)  # fmt: skip
def test_functions_load(call: str) -> None:
    assert body(call)


def test_membership() -> None:
    found = statements(SCORES + "X[b,h,i,j] = S[b,h,i,j] where j in list[b,:]")
    assert found[-1].endswith("where j in list[b,:]")
    assert refused("A[b,i] = i in list[b,i]") == ["'in' looks along one ':' of the list"]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("A[i] = i and w", "an operand of 'and' must be a predicate, this is a number"),
        ("A[i] = i if w else 2", "the condition of 'if' must be a predicate, this is a number"),
        ("A[i] = i where w", "'where' must be a predicate, this is a number"),
        ("A[i] = i & c", "an operand of '&' must be an integer, this is real"),
        ("A[b,h,i,d] = Q[b,h,i / 2,d]", "a position in a tensor must be an integer, this is real"),
        ("A[i] = clamp(i, 2)", "'clamp' takes 3 arguments, 2 given"),
        ("A[i] = uniform(1, 2, 3, 4, 5, 6)", "'uniform' takes 1 to 5 arguments, 6 given"),
        ("A[i] = min(i)", "'min' takes 2 or more arguments, 1 given"),
        ("A[i] = frob(i)", "there is no function 'frob'"),
        ("A[i] = size(i + 1)", "'size' takes the name of one index"),
        ("A[i] = size(w)", "'w' is not an index"),
        ("A[b,i] = Q[b,i]", "'Q' has 4 indices, 2 given"),
        ("A[i] = Q", "tensor 'Q' is read without indices"),
        ("mask near = i - j", "a mask must be a predicate, this is a number"),
    ],
)
def test_meaningless_expressions(written: str, message: str) -> None:
    assert refused(written) == [message]
