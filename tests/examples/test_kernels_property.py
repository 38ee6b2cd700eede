"""The kernels of every example agree with the reference: odd lengths and features, dtypes, strides, values."""

from __future__ import annotations

from zlib import crc32

import pytest

import attn_dsl
from attn_dsl.testing import check
from attn_dsl.testing.choices import spread
from attn_dsl.testing.strategies import Limits, make_example
from tests.examples.cases import CASES, EXAMPLES, example_names

pytestmark = pytest.mark.slow
CALLS = 4
LIMITS = Limits(work=1 << 18)  # elements a statement: the interpreter is slow
LOWERED = [name for name in example_names() if not name.startswith("coming/")]


def compiled(name: str) -> attn_dsl.Attention:
    """The example, with params small enough for its masks to bite."""
    return attn_dsl.compile(EXAMPLES / f"{name}.attn", params=CASES[name].params)


def seed(name: str) -> int:
    """Another stretch of the input space for every example."""
    return crc32(name.encode())


@pytest.mark.parametrize("name", LOWERED)
def test_kernels_agree_with_the_reference(name: str) -> None:
    widest = CASES[name].widest
    check(compiled(name), CALLS, seed=seed(name), work=LIMITS.work, widest=widest)


def test_lengths_and_features_are_covered() -> None:
    """Over the run, by examples that reach a kernel, not by the generator's promise."""
    lengths, features, dtypes = set[int](), set[int](), set[str]()
    for name in LOWERED:
        attention = compiled(name)
        for call in range(CALLS):
            choices = spread(seed(name), call)
            example = make_example(attention.cascade, attention.params, choices, LIMITS)
            sizes = example.sizes
            lengths |= {sizes[index] for index in ("i", "j") if index in sizes}
            features |= {sizes[index] for index in ("d", "e") if index in sizes}
            dtypes |= {str(tensor.dtype) for tensor in example.arguments.values()}
    assert lengths >= {0, 1, 17, 127, 130}
    assert features >= {1, 17, 64, 80, 96, 192}
    assert dtypes >= {"torch.float32", "torch.bfloat16", "torch.float16"}
