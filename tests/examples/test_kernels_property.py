"""The kernels of every example agree with the reference: odd lengths and features, dtypes, strides,
values."""

from __future__ import annotations

from zlib import crc32

import pytest

import attn_dsl
from attn_dsl.testing import check
from attn_dsl.testing.choices import spread
from attn_dsl.testing.strategies import Limits, make_example
from tests.examples.cases import CASES, EXAMPLES, example_names

CALLS = {"cpu": 4, "interpreter": 2}
# Elements a statement: the interpreter is slow.
LIMITS = {"cpu": Limits(), "interpreter": Limits(work=1 << 17)}
LOWERED = [name for name in example_names() if not name.startswith("coming/")]
# Read through computed places, their contractions are not matrix products yet, and the interpreter takes
# minutes.
COSTLY = {"basic/convolved_keys", "cache/page_table", "cache/token_gather", "cache/two_bit"}
# Masks of every plan, so that tiles are partial in all ways; one of two streams, one by computed weights.
SPARSE = [
    "heads/grouped_query", "masks/sliding_window", "masks/documents", "masks/head_strides",
    "multidim/neighbourhood_2d", "positions/alibi", "normalisers/sink_logits", "linear/retention",
]  # fmt: skip


def compiled(name: str, target: str) -> attn_dsl.Attention:
    """The example, with params small enough for its masks to bite."""
    return attn_dsl.compile(EXAMPLES / f"{name}.attn", params=CASES[name].params, target=target)


def seed(name: str) -> int:
    """Another stretch of the input space for every example."""
    return crc32(name.encode())


@pytest.mark.usefixtures("quick_builds")  # what is built with all optimisations, test_kernels.py compares
@pytest.mark.parametrize("name", LOWERED)
def test_native_kernels_agree_with_the_reference(name: str) -> None:
    agrees(name, "cpu")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in COSTLY else n for n in LOWERED]
)
def test_triton_kernels_agree_with_the_reference(name: str) -> None:
    agrees(name, "interpreter")


@pytest.mark.parametrize("name", SPARSE)
def test_what_a_row_does_not_see_does_not_reach_it(name: str) -> None:
    """NaN and infinities in a key of a tile that only some of its rows see: 0 * NaN is NaN."""
    check(compiled(name, "cpu"), 4, seed=seed(name), widest=CASES[name].widest, specials=True)


def agrees(name: str, target: str) -> None:
    """The calls of ``spread``, from a place of the example's own."""
    attention = compiled(name, target)
    check(attention, CALLS[target], seed=seed(name), work=LIMITS[target].work, widest=CASES[name].widest)


def test_lengths_and_features_are_covered() -> None:
    """Over the run, by examples that reach a kernel, not by the generator's promise."""
    lengths, features, dtypes = set[int](), set[int](), set[str]()
    for name in LOWERED:
        attention = compiled(name, "cpu")
        for call in range(CALLS["cpu"]):
            choices = spread(seed(name), call)
            example = make_example(attention.cascade, attention.params, choices, LIMITS["cpu"])
            sizes = example.sizes
            lengths |= {sizes[index] for index in ("i", "j") if index in sizes}
            features |= {sizes[index] for index in ("d", "e") if index in sizes}
            dtypes |= {str(tensor.dtype) for tensor in example.arguments.values()}
    assert lengths >= {0, 1, 17, 127, 130}
    assert features >= {1, 17, 64, 80, 96, 192}
    assert dtypes >= {"torch.float32", "torch.bfloat16", "torch.float16"}
