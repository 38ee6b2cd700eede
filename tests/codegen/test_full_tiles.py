"""Loops by what they visit: where bounds say which elements count, backward passes too visit whole tiles
without masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from attn_dsl.analysis.logic import PRESENT
from attn_dsl.cli.lowering import example_lowering
from attn_dsl.codegen.generation import Lowering
from attn_dsl.codegen.tiles import Loop, Share
from attn_dsl.differentiation.reverse import backward
from attn_dsl.ir.cascade import Cascade
from attn_dsl.language.load import load_file, load_text
from tests.examples.cases import EXAMPLES

ARCHITECTURES = ("cpu", "cuda:90")
# A loop over queries for keys and values, one over keys for queries.
FULL = (
    "basic/dense", "basic/cross_causal", "masks/sliding_window", "masks/prefix_lm", "masks/block_diagonal",
    "masks/global_window", "masks/head_windows", "masks/shifted_blocks", "heads/grouped_query", "heads/differential",
    "cache/lengths", "cache/eight_bit", "positions/alibi", "positions/rotary", "normalisers/softplus", "linear/linear",
)  # fmt: skip
DOCUMENTS = EXAMPLES / "masks/documents.attn"


def _backward(cascade: Cascade, architecture: str) -> Lowering:
    derived = backward(cascade)
    return example_lowering(derived.cascade, None, "f32", {}, architecture, derived.presences)


def _loops(lowering: Lowering) -> Iterator[list[Loop]]:
    for kernel in lowering.kernels:
        found = [item for item in kernel.text.body.items if isinstance(item, Loop)]
        if found:
            yield found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", FULL)
def test_backward_passes_visit_whole_tiles_without_masks(name: str, architecture: str) -> None:
    cascade = load_file(EXAMPLES / f"{name}.attn").cascade
    lowering = _backward(cascade, architecture)
    kernels = list(_loops(lowering))
    assert len(kernels) >= 2
    for loops in kernels:
        shares = Counter(loop.visits.share for loop in loops)
        assert (
            shares[Share.FULL] >= 1 and shares[Share.FULL] == shares[Share.REST] and not shares[Share.ALL]
        ), (name, shares)
        assert all(loop.condition is None for loop in loops if loop.visits.share is Share.FULL)
    flags = (str(a.source) for k in lowering.kernels for a in k.launch.arguments if PRESENT in str(a.source))
    assert not [f for f in flags if "_part" not in f]  # nothing of the forward pass; parts are small


def test_rows_of_a_mask_of_data_are_flagged() -> None:
    """Whether a row has a key of its document, only a look at the documents tells."""
    derived = backward(load_file(DOCUMENTS).cascade)
    assert [t for t, _ in derived.presences] == ["P_m_max"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sums_that_are_stored_need_no_flag(architecture: str) -> None:
    """The gradient of a key that no query sees is the sum of nothing."""
    lowering = _backward(load_file(DOCUMENTS).cascade, architecture)
    names = [state.name for kernel in lowering.kernels for state in kernel.text.body.states]
    assert any(name.startswith("d_V") for name in names)
    assert not [name for name in names if name.endswith("_present")]


def test_sums_that_follow_a_maximum_are_asked_for() -> None:
    """A row that meets nothing has -inf for its maximum, and exp(0 - -inf) times its empty sum is no 0."""
    text = """attention t
input A[i,j], B[i,j], V[j,e]
m[i] max= A[i,j] where B[i,j] > 0
O[i,e] += exp(A[i,j] - m[i]) * V[j,e] where B[i,j] > 0
output O[i,e]
"""
    cascade = load_text(text).cascade
    lowering = example_lowering(cascade, None, "f32", {}, "cpu", ())
    names = [state.name for kernel in lowering.kernels for state in kernel.text.body.states]
    assert [name for name in names if name.endswith("_present")]
    assert not any(b.name.startswith(PRESENT) for b in lowering.buffers)
