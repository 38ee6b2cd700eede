"""Sums of products of matrices, each multiplied as one."""

import pytest
import torch

import attn_dsl
from attn_dsl.rewrites.separate import separate
from tests.rewrites.texts import assert_rewritten, load

DECLARATIONS = """
attention test
input A[i, j], B[i, j], Q[i, d], K[j, d], U[j, e], V[j, e], W[j, e], D[i, j, d], w[j], r[i]
"""


def rewritten(before: str, after: str, output: str = "O[i, e]") -> None:
    assert_rewritten(separate(load(before, output, DECLARATIONS)), after, output, DECLARATIONS)


def test_two_products_are_two_sums() -> None:
    rewritten(
        "O[i,e] += w[j] * (A[i,j] * U[j,e] - B[i,j] * V[j,e]) where j <= i",
        """
        O[i,e] += A[i,j] * U[j,e] * w[j] where j <= i
        O[i,e] += -(B[i,j] * V[j,e] * w[j]) where j <= i""",
    )


def test_terms_with_a_factor_in_common_are_one_product() -> None:
    rewritten("O[i,e] += A[i,j] * U[j,e] - 2 * A[i,j] * V[j,e]", "O[i,e] += A[i,j] * (U[j,e] - 2 * V[j,e])")


def test_what_is_no_product_is_summed_by_itself() -> None:
    rewritten(
        "S[i,j] += Q[i,d] * K[j,d] + Q[i,d] * D[i,j,d] + r[i] * D[i,j,d]",
        """
        S[i,j] += Q[i,d] * K[j,d]
        S[i,j] += D[i,j,d] * (Q[i,d] + r[i])""",
        "S[i, j]",
    )


def test_a_definition_is_looked_through() -> None:
    definition = "Y[i,j,e] = A[i,j] * U[j,e] + B[i,j] * V[j,e] where j < i\n"
    rewritten(
        f"{definition}O[i,e] += Y[i,j,e]",
        f"""{definition}
        O[i,e] += A[i,j] * U[j,e] where j < i
        O[i,e] += B[i,j] * V[j,e] where j < i""",
    )


def test_each_part_asks_for_the_others() -> None:
    definitions = "X[i,j] = A[i,j] where j <= i\nY[i,j] = B[i,j] where j > i - 3\n"
    rewritten(
        f"{definitions}O[i,e] += X[i,j] * U[j,e] + Y[i,j] * V[j,e]",
        f"""{definitions}
        O[i,e] += X[i,j] * U[j,e] where present(Y[i,j])
        O[i,e] += Y[i,j] * V[j,e] where present(X[i,j])""",
    )


@pytest.mark.parametrize(
    "body",
    [
        "(A[i,j] + B[i,j]) * U[j,e]",  # a product of matrices as it stands
        "(Q[i,d] - K[j,d]) * (Q[i,d] - K[j,d])",  # loses accuracy as three sums
        "(Q[i,d] - K[j,d]) * w[j]",
        "r[i] * D[i,j,d] + Q[i,d] * D[i,j,d]",
        "(A[i,j] * U[j,e] + B[i,j] * V[j,e]) / (U[j,e] + r[i])",
    ],
)
def test_what_stays(body: str) -> None:
    output = "O[i, e]" if "e]" in body else "O[i, j]" if "w" not in body else "O[i, d]"
    target = output.replace(" ", "")
    rewritten(f"{target} += {body}", f"{target} += {body}", output)


@pytest.mark.parametrize("fewer", ["", " where i % 5 > 0"])
def test_the_kernel_of_two_masks(fewer: str) -> None:
    """An element counts where both terms have one."""
    attention = attn_dsl.compile(
        "attention test\ninput A[i, j], B[i, j], U[j, e], V[j, e]\n"
        "X[i,j] = A[i,j] where j <= i\nY[i,j] = B[i,j] where j > i - 3\n"
        f"O[i,e] += X[i,j] * U[j,e] - Y[i,j] * V[j,e]{fewer}\noutput O[i, e]"
    )
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 20, 20, generator=generator)
    u, v = (torch.randn(20, 5, generator=generator, requires_grad=True) for _ in range(2))
    i, j = torch.arange(20)[:, None], torch.arange(20)
    both = ((j <= i) & (j > i - 3) & ((i % 5 > 0) | (not fewer))).float()
    right = (a * both) @ u - (b * both) @ v
    result = attention(A=a, B=b, U=u, V=v)
    torch.testing.assert_close(result, right)
    seed = torch.randn(right.shape, generator=generator)
    for found, wanted in zip(
        torch.autograd.grad(result, (u, v), seed), torch.autograd.grad(right, (u, v), seed), strict=True
    ):
        torch.testing.assert_close(found, wanted)


def test_each_product_is_taken_as_one() -> None:
    """What failed before: the sum was multiplied element by element."""
    source = attn_dsl.compile(
        "attention test\ninput A[i, j], B[i, j], U[j, e], V[j, e]\n"
        "O[i,e] += A[i,j] * U[j,e] + B[i,j] * V[j,e]\noutput O[i, e]"
    ).source(architecture="cuda:90")
    assert source.count("tl.dot(") == 4  # two in tiles that need no mask, two in those that do
