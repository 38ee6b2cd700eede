"""Positive factors and constant terms that move out of a maximum or minimum."""

import pytest

from attn_dsl.rewrites.hoist_extremum import hoist_extremum
from tests.rewrites.texts import assert_rewritten, load


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("O[i] max= x[i,j] / sqrt(size(j))", "O_max[i] max= x[i,j]\nO[i] = O_max[i] / sqrt(size(j))"),
        ("O[i] min= 2 * x[i,j] + r[i]", "O_min[i] min= x[i,j]\nO[i] = O_min[i] * 2 + r[i]"),
        (
            "O[i] max= exp(r[i]) * (x[i,j] - s[i])",
            "O_max[i] max= x[i,j]\nO[i] = (O_max[i] - s[i]) * exp(r[i])",
        ),
    ],
)
def test_layers(before: str, after: str) -> None:
    assert_rewritten(hoist_extremum(load(before, "O[i]")), after, "O[i]")


@pytest.mark.parametrize(
    "text",
    [
        "O[i] max= x[i,j] * r[i]",  # of unknown sign
        "O[i] max= -x[i,j]",
        "O[i] max= x[i,j] * 0",
        "O[i] max= x[i,j] * 2\nO[i] max= r[i]",  # the other contribution lacks the factor
    ],
)
def test_nothing_to_hoist(text: str) -> None:
    assert_rewritten(hoist_extremum(load(text, "O[i]")), text, "O[i]")


def test_a_definition_is_looked_through_and_its_guard_kept() -> None:
    before = "X[i,j] = x[i,j] * 3 where j <= i\nO[i] max= X[i,j] where c[j] > 0"
    after = """
        X[i,j] = x[i,j] * 3 where j <= i
        O_max[i] max= x[i,j] where c[j] > 0 and j <= i
        O[i] = O_max[i] * 3"""
    assert_rewritten(hoist_extremum(load(before, "O[i]")), after, "O[i]")


def test_contributions_with_the_same_layers() -> None:
    before = "O[i] max= x[i,j] * 2\nO[i] max= y[i,j] * 2 where j <= i"
    after = "O_max[i] max= x[i,j]\nO_max[i] max= y[i,j] where j <= i\nO[i] = O_max[i] * 2"
    assert_rewritten(hoist_extremum(load(before, "O[i]")), after, "O[i]")
