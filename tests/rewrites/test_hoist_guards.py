"""Conditions that are asked after a sum."""

import pytest

from attn_dsl.rewrites.hoist_guards import hoist_guards
from tests.rewrites.texts import assert_rewritten, load

DECLARATIONS = """
attention test
input A[i, e], B[j, e], K[j, e], w[i, j], f[e], t[u]
"""


def rewritten(before: str, after: str, output: str) -> None:
    assert_rewritten(hoist_guards(load(before, output, DECLARATIONS)), after, output, DECLARATIONS)


def test_a_condition_on_elements_of_the_product_is_asked_of_it() -> None:
    rewritten(
        "G[j,e] += w[i,j] * A[i,e] where K[j,e] > 0 and j <= i",
        "G_sum[j,e] += w[i,j] * A[i,e] where j <= i\nG[j,e] = G_sum[j,e] where K[j,e] > 0",
        "G[j, e]",
    )


def test_the_sum_lacks_what_only_the_condition_has() -> None:
    rewritten(
        "G[i,u] += w[i,j] * B[j,e] where t[u] > 0",
        "G_sum[i] += w[i,j] * B[j,e]\nG[i,u] = G_sum[i] where t[u] > 0",
        "G[i, u]",
    )


def test_other_contributions_are_summed_apart() -> None:
    rewritten(
        "G[j,e] += w[i,j] * A[i,e] where K[j,e] > 0\nG[j,e] += w[i,j]\nG[j,e] += B[j,e]",
        "G_sum[j,e] += w[i,j] * A[i,e]\nG[j,e] += G_sum[j,e] where K[j,e] > 0\n"
        "G_sum_2[j,e] += w[i,j]\nG[j,e] += G_sum_2[j,e]\nG[j,e] += B[j,e]",
        "G[j, e]",
    )


@pytest.mark.parametrize(
    "text",
    [
        "G[j,e] += w[i,j] * A[i,e] where j <= i",  # varies with what is summed
        "G[j,e] += w[i,j] * A[i,e] where f[e] > 0",  # a factor is masked
        "G[j,e] += w[i,j] where K[j,e] > 0",
        "G[j,e] max= w[i,j] * A[i,e] where K[j,e] > 0",
    ],
)
def test_what_stays(text: str) -> None:
    rewritten(text, text, "G[j, e]")
