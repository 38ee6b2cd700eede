"""What is computed twice."""

from attn_dsl.rewrites.common_subexpressions import common_subexpressions
from tests.rewrites.texts import assert_rewritten, load


def test_equal_statements_become_one() -> None:
    before = """
        A[i] += x[i,j]
        B[i] += x[i,j]
        C[i] = exp(B[i] - A[i])
        D[i] = exp(A[i] - B[i])
        O[i] = C[i] + D[i]"""
    after = "A[i] += x[i,j]\nC[i] = exp(A[i] - A[i])\nO[i] = C[i] + C[i]"
    assert_rewritten(common_subexpressions(load(before, "O[i]")), after, "O[i]")


def test_another_guard_or_operator_is_another_statement() -> None:
    text = "A[i] += x[i,j]\nB[i] max= x[i,j]\nC[i] += x[i,j] where j <= i\nO[i] = A[i] + B[i] + C[i]"
    assert_rewritten(common_subexpressions(load(text, "O[i]")), text, "O[i]")


def test_a_shared_exponential_gets_a_name_and_no_guard() -> None:
    before = "l[i] += exp(x[i,j]) where j <= i\nO[i] += exp(x[i,j]) * c[j]\nO[i] += l[i]"
    after = """
        l_exp[i,j] = exp(x[i,j])
        l[i] += l_exp[i,j] where j <= i
        O[i] += l_exp[i,j] * c[j]
        O[i] += l[i]"""
    assert_rewritten(common_subexpressions(load(before, "O[i]")), after, "O[i]")


def test_an_existing_name_is_used() -> None:
    before = "w[i,j] = exp(x[i,j])\nO[i] += exp(x[i,j]) * c[j] * w[i,j]"
    after = "w[i,j] = exp(x[i,j])\nO[i] += w[i,j] * c[j] * w[i,j]"
    assert_rewritten(common_subexpressions(load(before, "O[i]")), after, "O[i]")


def test_a_name_over_more_indices_is_not_used() -> None:
    before = "w[i,j] = exp(r[i])\nA[i] += w[i,j]\nO[i] = exp(r[i]) * A[i]"
    after = "w_exp[i] = exp(r[i])\nw[i,j] = w_exp[i]\nA[i] += w[i,j]\nO[i] = w_exp[i] * A[i]"
    assert_rewritten(common_subexpressions(load(before, "O[i]")), after, "O[i]")
