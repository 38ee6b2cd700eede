"""Factors that move out of sums."""

import pytest

from attn_dsl.rewrites.hoist import hoist
from tests.rewrites.texts import assert_rewritten, load


def test_a_normaliser_leaves_the_sum_and_its_guard_stays() -> None:
    before = """
        w[i,j] = exp(x[i,j])
        l[i] += w[i,j] where j <= i
        P[i,j] = w[i,j] / l[i] where j <= i
        O[i,e] += P[i,j] * V[j,e] where c[j] > 0"""
    after = """
        w[i,j] = exp(x[i,j])
        l[i] += w[i,j] where j <= i
        P[i,j] = w[i,j] / l[i] where j <= i
        O_sum[i,e] += w[i,j] * V[j,e] where c[j] > 0 and j <= i
        O[i,e] = O_sum[i,e] / l[i]"""
    assert_rewritten(hoist(load(before, "O[i, e]")), after, "O[i, e]")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("O[i] += 2 * x[i,j]", "O_sum[i] += x[i,j]\nO[i] = O_sum[i] * 2"),
        ("O[i] += -x[i,j] / size(j)", "O_sum[i] += x[i,j]\nO[i] = -(O_sum[i] / size(j))"),
        ("O[i] mean= r[i] * x[i,j]", "O_mean[i] mean= x[i,j]\nO[i] = O_mean[i] * r[i]"),
        ("O[i] += detach(r[i] * x[i,j])", "O_sum[i] += detach(x[i,j])\nO[i] = O_sum[i] * detach(r[i])"),
        ("O[i] += x[i,j] / (c[j] / r[i])", "O_sum[i] += x[i,j] / c[j]\nO[i] = O_sum[i] * r[i]"),
    ],
)
def test_factors(before: str, after: str) -> None:
    assert_rewritten(hoist(load(before, "O[i]")), after, "O[i]")


@pytest.mark.parametrize(
    "text",
    [
        "O[i] += x[i,j] * c[j]",
        "O[i] += x[i,j] + r[i]",
        "O[i] *= x[i,j] * r[i]",
        "O[i] any= x[i,j] * r[i] > 0",
        "n[i] += 1 where x[i,j] > 0\nO[i] = n[i]",
    ],
)
def test_nothing_to_hoist(text: str) -> None:
    assert_rewritten(hoist(load(text, "O[i]")), text, "O[i]")


def test_contributions_share_what_they_have_in_common() -> None:
    before = """
        l[i] += exp(x[i,j]); l[i] += exp(y[i,j])
        O[i,e] += exp(x[i,j]) / l[i] * V[j,e]
        O[i,e] += exp(y[i,j]) * t / l[i] * V[j,e]"""
    after = """
        l[i] += exp(x[i,j]); l[i] += exp(y[i,j])
        O_sum[i,e] += exp(x[i,j]) * V[j,e]
        O_sum[i,e] += exp(y[i,j]) * V[j,e] * t
        O[i,e] = O_sum[i,e] / l[i]"""
    assert_rewritten(hoist(load(before, "O[i, e]")), after, "O[i, e]")


def test_contributions_with_normalisers_of_their_own_are_summed_apart() -> None:
    before = """
        l[i] += exp(x[i,j]); n[i] += exp(y[i,j]) where j <= i
        O[i,e] += exp(x[i,j]) / l[i] * V[j,e]
        O[i,e] += exp(y[i,j]) / n[i] * V[j,e] where j <= i"""
    after = """
        l[i] += exp(x[i,j]); n[i] += exp(y[i,j]) where j <= i
        O_sum[i,e] += exp(x[i,j]) * V[j,e]
        O[i,e] += O_sum[i,e] / l[i]
        O_sum_2[i,e] += exp(y[i,j]) * V[j,e] where j <= i
        O[i,e] += O_sum_2[i,e] / n[i]"""
    assert_rewritten(hoist(load(before, "O[i, e]")), after, "O[i, e]")


def test_a_contribution_that_is_a_multiple_of_another_sum_reads_it() -> None:
    before = """
        a[i] += x[i,j] * c[j]
        O[i] += x[i,j] * c[j] / r[i]
        O[i] += r[i]"""
    after = """
        a[i] += x[i,j] * c[j]
        O_sum[i] += x[i,j] * c[j]
        O[i] += O_sum[i] / r[i]
        O[i] += r[i]"""
    assert_rewritten(hoist(load(before, "O[i], a[i]")), after, "O[i], a[i]")
