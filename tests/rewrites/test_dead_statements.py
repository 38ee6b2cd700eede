"""Statements nobody needs."""

from attn_dsl.rewrites.dead_statements import dead_statements
from tests.rewrites.texts import assert_rewritten, load


def test_what_no_output_needs_goes() -> None:
    before = "A[i] = r[i]\nB[i] = A[i] + 1\nC[i] = s[i]\nO[i] = C[i] * 2"
    assert_rewritten(dead_statements(load(before, "O[i]")), "C[i] = s[i]\nO[i] = C[i] * 2", "O[i]")


def test_a_guard_and_every_contribution_count_as_needed() -> None:
    text = "A[i] max= x[i,j]\nA[i] max= r[i]\nO[i] = s[i] where A[i] > 0"
    assert_rewritten(dead_statements(load(text, "O[i]")), text, "O[i]")
