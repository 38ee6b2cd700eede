"""Warnings: legal, and probably not meant."""

from __future__ import annotations

import pytest

from attn_dsl.language.load import load_text

TEXT = """attention a
input S[b,i,j], V[b,j,e], g[b,i]
{statements}
output O[b,i,e]
"""
JOINS = "'+' joins operands that do not exist at the same places; the sum is absent where one is"
NEAR = "N[b,i,e] += A[b,i,j] * V[b,j,e] * g[b,i] where i - j < 4\n"
FAR = "F[b,i,e] += A[b,i,j] * V[b,j,e] where j % 4 == 0\n"


def warnings(statements: str) -> list[str]:
    """The messages for the statements of a file."""
    return [w.message for w in load_text(TEXT.format(statements=statements)).warnings]


@pytest.mark.parametrize(
    "statements",
    [
        "A[b,i,j] = S[b,i,j]\n" + NEAR + FAR + "O[b,i,e] = N[b,i,e] + F[b,i,e]",
        (
            "A[b,i,j] = S[b,i,j] * g[b,i]\nX[b,i,j] = A[b,i,j] where j <= i\n"
            "O[b,i,e] += (X[b,i,j] + A[b,i,j]) * V[b,j,e]"
        ),
    ],
)
def test_a_sum_that_loses_elements(statements: str) -> None:
    assert warnings(statements) == [JOINS]


@pytest.mark.parametrize(
    "statements",
    [
        "A[b,i,j] = S[b,i,j]\n" + NEAR + FAR + "O[b,i,e] = default(N[b,i,e], 0.0) + default(F[b,i,e], 0.0)",
        "A[b,i,j] = S[b,i,j]\n" + NEAR + FAR + "O[b,i,e] += N[b,i,e]\nO[b,i,e] += F[b,i,e]",
        "A[b,i,j] = S[b,i,j] where j <= i\nX[b,i,j] = A[b,i,j] + g[b,i]\nO[b,i,e] += X[b,i,j] * V[b,j,e]",
        (
            "X[b,i,j] = S[b,i,j] * g[b,i] where j <= i\nl[b,i] = logsumexp[j](X[b,i,j])\n"
            "O[b,i,e] += l[b,i] * V[b,j,e]"
        ),
    ],
)
def test_a_sum_that_does_not(statements: str) -> None:
    assert warnings(statements) == []


def test_declarations_nobody_uses() -> None:
    text = "index q < 4\nparam w: int = 2\nmask near = j <= i\ninput T[b]\nO[b,i,e] += S[b,i,j] * V[b,j,e] * g[b,i]"
    named = {"index 'q'", "param 'w'", "mask 'near'", "input 'T'"}
    assert set(warnings(text)) == {f"{name} is never used" for name in named}


def test_a_mask_used_by_a_mask_is_used() -> None:
    text = (
        "mask near = j <= i\nmask both = near and i > 2\nO[b,i,e] += S[b,i,j] * V[b,j,e] * g[b,i] where both"
    )
    assert warnings(text) == []


MAXIMUM = "m[b,i] max= S[b,i,j]\nl[b,i] += exp(S[b,i,j] - detach(m[b,i]))\nL[b,i] = {}\nO[b,i,e] += L[b,i] * V[b,j,e] * g[b,i]"


@pytest.mark.parametrize("value", ["m[b,i] + log(l[b,i])", "default(log(l[b,i]) + m[b,i], -inf)"])
def test_a_maximum_detached_in_one_place(value: str) -> None:
    assert warnings(MAXIMUM.format(value)) == [
        "'L' does not depend on 'm', but its gradient does: 'm' is detached elsewhere and not here"
    ]


@pytest.mark.parametrize(
    "value",
    [
        "detach(m[b,i]) + log(l[b,i])",
        "m[b,i]",  # the maximum itself
        "m[b,i] * l[b,i]",  # depends on it
        "exp(m[b,i]) + l[b,i]",  # not decided
    ],
)
def test_a_maximum_that_is_meant(value: str) -> None:
    assert warnings(MAXIMUM.format(value)) == []
