"""Where log2(e) goes."""

import pytest

from attn_dsl.rewrites.base_two import base_two
from tests.rewrites.texts import LOG2_E, assert_rewritten, load


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("exp(r[i])", f"exp2(r[i] * {LOG2_E})"),
        ("exp(-r[i])", f"exp2(r[i] * -{LOG2_E})"),
        ("exp(r[i] / sqrt(size(i)))", f"exp2(r[i] * ({LOG2_E} / sqrt(size(i))))"),
        ("exp(r[i] - s[i] * t)", f"exp2((r[i] - s[i] * t) * {LOG2_E})"),
        ("exp((r[i] - s[i]) / 8)", f"exp2((r[i] - s[i]) * ({LOG2_E} / 8))"),
        ("exp(i - 3)", f"exp2((i - 3) * {LOG2_E})"),  # exact, so kept whole
        ("exp(sqrt(2))", "exp(sqrt(2))"),  # one number for the whole call
        ("default(exp(r[i]), 0)", f"default(exp2(r[i] * {LOG2_E}), 0)"),
    ],
)
def test_the_constant_is_absorbed(before: str, after: str) -> None:
    assert_rewritten(base_two(load(f"O[i] = {before}", "O[i]")), f"O[i] = {after}", "O[i]")


def test_a_scaled_definition_is_looked_through_under_its_guard() -> None:
    before = "X[i,j] = x[i,j] * 3 where j <= i\nO[i,j] = exp(X[i,j] - detach(r[i] * 3))"
    after = f"""
        X[i,j] = x[i,j] * 3 where j <= i
        O[i,j] = exp2((x[i,j] - detach(r[i])) * ({LOG2_E} * 3)) where j <= i"""
    assert_rewritten(base_two(load(before, "O[i, j]")), after, "O[i, j]")


def test_a_definition_is_not_looked_through_where_its_guard_would_spread() -> None:
    before = "X[i,j] = x[i,j] * 3 where j <= i\nO[i,j] = default(exp(X[i,j]), 0)"
    after = f"X[i,j] = x[i,j] * 3 where j <= i\nO[i,j] = default(exp2(X[i,j] * {LOG2_E}), 0)"
    assert_rewritten(base_two(load(before, "O[i, j]")), after, "O[i, j]")
