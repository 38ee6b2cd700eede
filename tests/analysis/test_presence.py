"""Guards say exactly where the reference evaluator finds elements, and guard every read they make."""

from itertools import product

import pytest
import torch

from attn_dsl.analysis.presence import guard
from attn_dsl.language.load import load_text
from tests.analysis.elements import World
from tests.reference.meaning import meaning

SIZES = {"b": 2, "i": 4, "j": 5, "_A_1": 5, "_page_0": 5}
PARAMS = {"w": 2}
TENSORS = {
    "A": torch.tensor([[True, False, True, True, False]] * 2 + [[False, True, True, False, True]] * 2),
    "D": torch.tensor([0, 0, 2, 7]),
    "page": torch.tensor([3, -1, 0, 9, 1]),
    "length": torch.tensor([3, 0]),
}
HEAD = """attention t
param w: int = 2
input A[i, j]: bool, D[i]: i32, page[j]: i32, length[b]: i32
"""


def _assert_same_elements(statements: str, head: str = HEAD) -> None:
    """``X[b,i,j]`` exists by the reference just where its guard holds."""
    tensors = dict(TENSORS)
    if "T[i,j] =" in statements:
        tensors |= meaning(f"{head}{statements}\noutput T[i, j]\n", TENSORS, None, **SIZES)
    text = f"{head}{statements}\nY[b,i,j] = 1 if default(X[b,i,j] * 0 == 0, false) else 0\noutput Y[b, i, j]: i32\n"
    cascade = load_text(text).cascade
    exists = guard(cascade.definitions("X")[0], cascade)
    found = meaning(text, TENSORS, None, **SIZES)["Y"].bool()
    world = World(PARAMS, SIZES, tensors)
    for b, i, j in product(range(2), range(4), range(5)):
        said = world.element(exists, {"b": b, "i": i, "j": j})
        assert bool(said) == bool(found[b, i, j]), (b, i, j)


@pytest.mark.parametrize(
    "right",
    [
        "1 where j <= i",
        "A[i, j - w] where b < 1",
        "D[j] * page[i]",
        "D[page[j]]",
        "default(D[page[j]], w)",
        "default(D[page[j]], D[i + 1])",
        "1 where A[i, j - 1] or j < 1",
        "1 where not (A[i, j - 1] and j > 1)",
        "1 where not A[j, i] or A[i + 1, j]",
        "D[i + 1] if j < 2 else D[i - 1]",
        "1 if D[i + 1] > 1 else 2",
        "1 where A[i, j] if j < 3 else A[i, j + 2]",
        "1 where 0 <= D[i + j] - j < w",
        "D[(i + j) % 4]",
        "D[(i + j) % size(i)]",
        "1 where default(A[i + 1, j], true)",
        "1 where default(A[i + 1, j] and A[i, j + 1], true)",
        "1 where (A[i + 1, j] or A[i, j + 1]) == (j > 2)",
    ],
)
def test_of_a_statement(right: str) -> None:
    _assert_same_elements(f"index b < 2\nX[b,i,j] = {right}")


@pytest.mark.parametrize(
    "text",
    [
        "T[i,j] = i >= j where A[i, j]\nX[b,i,j] = 1 where T[i, j - 1]",
        "T[i,j] = i >= j\nX[b,i,j] = 1 where T[i, j - 1]",
        "T[i,j] = i >= j\nX[b,i,j] = 1 where not T[i, j - 1]",
        "T[i,j] = i + j where A[i, j]\nX[b,i,j] = T[i, page[j]]",
        "T[i,j] = A[i, j + 1] and i > 1\nX[b,i,j] = default(1 if T[i, j] else 0, 3) where i < 3",
        "N[i] += 2 where i > 1 and w > 0\nX[b,i,j] = N[i - 1]",
        "N[i] += j where i > 1\nX[b,i,j] = N[i + 1]",
        "N[i] += j where i > 1\nN[i] += 1 where i < 1\nX[b,i,j] = N[i]",
        "R[i,j] = argsort[j](page[j] + i)\nX[b,i,j] = R[i, j + 1]",
    ],
)
def test_of_reads_of_computed_tensors(text: str) -> None:
    _assert_same_elements(f"index b < 2\n{text.replace('X[b,i,j] = N', 'X[b,i,j] = b * j + N')}")


@pytest.mark.parametrize(
    "right", ["i", "A[i, j]", "A[i, j - 1]", "default(page[j], 1)", "1 where not A[i, j]"]
)
def test_of_an_index_with_a_limit(right: str) -> None:
    head = HEAD.replace("page[j]: i32, length[b]: i32", "page[_]: i32, length[b]: i32")
    head = head.replace("A[i, j]: bool", "A[i, _]: bool") + "index j < length[b]\n"
    _assert_same_elements(f"X[b,i,j] = b + j + {right}", head)
