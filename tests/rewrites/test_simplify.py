"""Local simplifications, and those that would change a bit and must not happen."""

import pytest

from attn_dsl.rewrites.simplify import simplify
from tests.rewrites.texts import assert_rewritten, load


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("r[i] * 1", "r[i]"),
        ("1 * r[i] / 1", "r[i]"),
        ("r[i] - 0", "r[i]"),
        ("-(-r[i])", "r[i]"),
        ("r[i] * (2 * 3 + 1)", "r[i] * 7"),
        ("r[i] / (1 / 4)", "r[i] / 0.25"),
        ("(i + 0) * r[i]", "i * r[i]"),
        ("detach(detach(r[i]))", "detach(r[i])"),
        ("r[i] if 1 < 2 else s[i]", "r[i]"),
    ],
)
def test_simplified(before: str, after: str) -> None:
    assert_rewritten(simplify(load(f"O[i] = {before}", "O[i]")), f"O[i] = {after}", "O[i]")


@pytest.mark.parametrize(
    "body",
    [
        "r[i] + 0",  # the sign of zero
        "r[i] * 0",  # infinities and NaN
        "i * 1.0",  # an integer would become the result of a real product
        "r[i] / 0",  # infinite
    ],
)
def test_kept(body: str) -> None:
    text = f"O[i] = {body}"
    assert_rewritten(simplify(load(text, "O[i]")), text, "O[i]")


def test_a_guard_that_always_holds_goes() -> None:
    before = "O[i] = r[i] where 1 < 2 and (i > 0 or 2 < 1)"
    assert_rewritten(simplify(load(before, "O[i]")), "O[i] = r[i] where i > 0", "O[i]")
