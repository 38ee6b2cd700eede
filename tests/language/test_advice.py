"""Warnings: legal, and probably not meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from attn_dsl.language.load import load_file, load_text

FOLDER = Path(__file__).parents[1] / "golden" / "warnings"
FILES = sorted(FOLDER.glob("*.attn"))

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
            "Y[b,i,j] = A[b,i,j] where i - j < 4\nO[b,i,e] += (X[b,i,j] + Y[b,i,j]) * V[b,j,e]"
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
        # A mask on one operand is the mask of what takes the sum.
        (
            "G[b,j] += V[b,j,e]\nX[b,i,j] = S[b,i,j] * g[b,i] where j <= i\n"
            "P[b,i,j] = softmax[j](X[b,i,j] + log(G[b,j]))\nO[b,i,e] += P[b,i,j] * V[b,j,e]"
        ),
        # Two masks, and the statement asks for both.
        (
            "A[b,i,j] = S[b,i,j] * g[b,i]\nX[b,i,j] = A[b,i,j] where j <= i\nY[b,i,j] = A[b,i,j] where i - j < 4\n"
            "O[b,i,e] += (X[b,i,j] + Y[b,i,j]) * V[b,j,e] where j <= i and i - j < 4"
        ),
    ],
)
def test_a_sum_that_does_not(statements: str) -> None:
    assert warnings(statements) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_warning(
    path: Path, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FOLDER)
    loaded = load_file(Path(path.name))
    assert loaded.warnings
    golden(path.with_suffix(".txt"), "\n\n".join(w.render(loaded.sources) for w in loaded.warnings) + "\n")


@pytest.mark.parametrize(
    "statements",
    [
        # The mask stands on the argument as well; dropout, and a choice among what was normalised.
        (
            "X[b,i,j] = S[b,i,j] * g[b,i] where j <= i\nP[b,i,j] = softmax[j](X[b,i,j]) where j <= i\n"
            "O[b,i,e] += P[b,i,j] * V[b,j,e]"
        ),
        "P[b,i,j] = softmax[j](S[b,i,j] * g[b,i]) where uniform(1, b, i, j) > 0.1\nO[b,i,e] += P[b,i,j] * V[b,j,e]",
        (
            "T[b,i,j] = topk[j](S[b,i,j], 2)\nP[b,i,j] = softmax[j](S[b,i,j] * g[b,i]) where T[b,i,j]\n"
            "O[b,i,e] += P[b,i,j] * V[b,j,e]"
        ),
        "P[b,i,j] = softmax[j](S[b,i,j] * g[b,i])\nO[b,i,e] += P[b,i,j] * V[b,j,e] where j <= i",
        # A sum with its own element, and one whose absence is provided for.
        "index t < size(i)\nn[b,i] += g[b,t] > 0 where t <= i\nO[b,i,e] += S[b,i,j] * V[b,j,e] * S[b,n[b,i],j]",
        (
            "index t < size(i)\nn[b,i] += g[b,t] > 0 where t < i\n"
            "O[b,i,e] += S[b,i,j] * V[b,j,e] * S[b,default(n[b,i], 0),j]"
        ),
    ],
)
def test_masks_in_their_place(statements: str) -> None:
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
