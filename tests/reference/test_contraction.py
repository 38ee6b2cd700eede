"""Matrix products where they apply compute what the sum element by element does."""

import pytest
import torch
from torch.testing import assert_close

from attn_dsl.reference import statements
from tests.reference.meaning import meaning, normal

TEXTS = [
    "O[i,e] += x[i,j] * v[j,e]",
    "O[i,e] += x[i,j] * v[j,e]  where j <= i",
    "O[i,e] += x[i,j] * v[j,e]  where e <= i",
    "O[i,e] += x[i,j] * v[j,e]  where (i + j + e) % 2 == 0",
    "O[i,e] += (x[i,j] + 1) * v[j + 1,e]",
    "O[i,e] += (x[i,j] > 0) * v[j,e]  where x[i,j] > -0.5",
    "O[i,e] += exp(x[i,j]) * i * v[j,e]  where j > i and x[i,j] < 1",
    "O[i,e] += x[i,j] * v[e,e]",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("poison", [None, torch.nan, torch.inf])
def test_same_as_element_by_element(text: str, poison: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    x, v = normal(5, 6), normal(6, 4, seed=1)
    if poison is not None:
        x[1, 1], v[3, 2] = poison, poison
    text = f"input x[i, j], v[j, e]\n{text}\nE[i,e] = default(O[i,e] * 0 + 1, 5)\noutput O[i, e], E[i, e]"
    fast = meaning(text, {"x": x, "v": v})
    monkeypatch.setattr(statements, "contract", lambda statement, scope: None)
    slow = meaning(text, {"x": x, "v": v})
    assert_close(fast["O"], slow["O"], equal_nan=True)
    assert_close(fast["E"], slow["E"], equal_nan=True)


def test_no_array_over_the_whole_space_is_made() -> None:
    """2^36 elements would not fit in memory."""
    text = "input x[i, j], v[j, e]\nO[i,e] += x[i,j] * v[j,e]  where j <= i\noutput O[i, e]"
    x, v = normal(512, 512), normal(512, 512, seed=1)
    x, v = x.repeat(8, 2), v.repeat(2, 32)
    assert_close(meaning(text, {"x": x, "v": v})["O"], x.tril() @ v)
