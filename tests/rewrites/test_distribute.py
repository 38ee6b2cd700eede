"""Sums of things with normalisers of their own."""

from attn_dsl.rewrites.distribute import distribute
from tests.rewrites.texts import assert_rewritten, load

TWO_SOFTMAXES = """
    w[i,j] = exp(x[i,j]) where j <= i
    l[i] += w[i,j]
    P[i,j] = w[i,j] / l[i]
    u[i,j] = exp(y[i,j]) where {guard}
    n[i] += u[i,j]
    R[i,j] = u[i,j] / n[i]
    A[i,j] = P[i,j] - r[i] * R[i,j]
"""


def test_two_normalisers_part() -> None:
    before = TWO_SOFTMAXES.format(guard="j <= i")
    after = """
        O_1[i,e] += P[i,j] * V[j,e]
        O_2[i,e] += r[i] * R[i,j] * V[j,e]
        O[i,e] = O_1[i,e] - O_2[i,e]"""
    result = distribute(load(before + "O[i,e] += A[i,j] * V[j,e]", "O[i, e]"))
    assert_rewritten(result, before + after, "O[i, e]")


def test_terms_that_may_exist_at_different_elements_stay_together() -> None:
    text = TWO_SOFTMAXES.format(guard="j < i") + "O[i,e] += A[i,j] * V[j,e]"
    assert_rewritten(distribute(load(text, "O[i, e]")), text, "O[i, e]")


def test_terms_without_a_normaliser_stay_together() -> None:
    text = "O[i,e] += (x[i,j] + r[i] * y[i,j]) * V[j,e]"
    assert_rewritten(distribute(load(text, "O[i, e]")), text, "O[i, e]")


def test_one_contribution_among_others() -> None:
    before = TWO_SOFTMAXES.format(guard="j <= i")
    rest = "\nO[i,e] += x[i,j] * V[j,e]"
    after = """
        O_1[i,e] += P[i,j] * V[j,e]
        O_2[i,e] += r[i] * R[i,j] * V[j,e]
        O[i,e] += O_1[i,e] - O_2[i,e]"""
    result = distribute(load(before + "O[i,e] += A[i,j] * V[j,e]" + rest, "O[i, e]"))
    assert_rewritten(result, before + after + rest, "O[i, e]")
