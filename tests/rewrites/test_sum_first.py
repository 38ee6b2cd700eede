"""Indices that are summed before the others."""

import pytest

from attn_dsl.rewrites.sum_first import sum_first
from tests.rewrites.texts import assert_rewritten, load

DECLARATIONS = """
attention test
input A[i, e], B[j, e], C[j, u], w[i, j], z[i, j], f[e], T[e, u]
"""


def rewritten(before: str, after: str, output: str) -> None:
    assert_rewritten(sum_first(load(before, output, DECLARATIONS)), after, output, DECLARATIONS)


def test_features_are_summed_before_keys() -> None:
    rewritten(
        "G[i] += A[i,e] * B[j,e] * w[i,j] / z[i,j]",
        "G_sum[i,j] += A[i,e] * B[j,e]\nG[i] += G_sum[i,j] * w[i,j] / z[i,j]",
        "G[i]",
    )


def test_guards_go_where_they_apply() -> None:
    rewritten(
        "G[i] += A[i,e] * B[j,e] * w[i,j] where j <= i and f[e] > 0",
        "G_sum[i,j] += A[i,e] * B[j,e] where f[e] > 0 and j <= i\nG[i] += G_sum[i,j] * w[i,j] where j <= i",
        "G[i]",
    )


def test_a_factor_alone_is_a_sum_of_its_own() -> None:
    rewritten("G[i] += B[j,e] * w[i,j]", "G_sum[j] += B[j,e]\nG[i] += G_sum[j] * w[i,j]", "G[i]")


def test_what_is_sent_to_computed_places_is_summed_first() -> None:
    rewritten(
        "G[i - j + size(j)] += A[i,e] * B[j,e] * w[i,j]",
        "G_sum[i,j] += A[i,e] * B[j,e]\nG[i - j + size(j)] += G_sum[i,j] * w[i,j]",
        "G[i]",
    )


def test_the_longest_sum_is_first_where_nothing_else_has_its_index() -> None:
    rewritten("G[i] += A[i,e] * B[j,e]", "G_sum[e] += B[j,e]\nG[i] += G_sum[e] * A[i,e]", "G[i]")


@pytest.mark.parametrize(
    "text",
    [
        "G[i,u] += w[i,j] * B[j,e] * T[e,u]",  # either order makes a tensor that the others do not range over
        "G[i] += (A[i,e] + B[j,e]) * f[e]",
        "G[i] max= A[i,e] * B[j,e] * w[i,j]",
    ],
)
def test_what_stays(text: str) -> None:
    output = "G[i, u]" if "u]" in text else "G[i]"
    rewritten(text, text, output)
