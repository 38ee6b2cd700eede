"""The account as a whole: its figures, bounds where data is not given, errors, and what it prints."""

from __future__ import annotations

import json

import pytest
import torch

import attn_dsl
from attn_dsl.account.devices import DEVICES, Device
from attn_dsl.account.measured import from_rates
from attn_dsl.errors import ArgumentError, NotLoweredError
from attn_dsl.testing.layouts import negated
from tests.examples.cases import CASES, EXAMPLES, example_names

DENSE = EXAMPLES / "basic/dense.attn"


def test_operations_of_dense_attention() -> None:
    """2 n^2 (d + e) for the two products; nothing is masked, and whole tiles waste nothing: all are full,
    which asks of no element whether it exists."""
    analysis = attn_dsl.compile(DENSE).analyze(b=2, h=4, i=1024, j=1024, d=64, e=128)
    assert analysis.forward is not None
    expected = 2 * 8 * 1024 * 1024 * (64 + 128)
    found = analysis.forward.contractions
    assert (found.useful, found.executed, found.dense) == (expected,) * 3
    assert 1 <= analysis.forward.speedup < 1.02
    assert analysis.forward.kernels[0].passes.to_dict() | {"report": 0} == {
        "written": 3, "hoisted": 2, "count": 1, "bound": 1, "report": 0,
    }  # fmt: skip


def test_bytes_are_those_of_the_tensors() -> None:
    """Q, K, V and O, each once; the keys are loaded again by every row tile, which is traffic."""
    analysis = attn_dsl.compile(DENSE).analyze(b=1, h=4, i=1024, j=2048, d=64, e=64, tiles=(64, 64))
    assert analysis.forward is not None
    (kernel,) = analysis.forward.kernels
    assert kernel.read == {"Q": 4 * 1024 * 128, "K": 4 * 2048 * 128, "V": 4 * 2048 * 128}
    assert kernel.written == {"O": 4 * 1024 * 128}
    assert kernel.traffic == 4 * 1024 * 128 + (1024 // 64) * 2 * 4 * 2048 * 128


def test_decoding_reads_only_the_window() -> None:
    """One query at the end: a window's tiles are all that is loaded."""
    text = (
        (EXAMPLES / "masks/sliding_window.attn")
        .read_text()
        .replace("sliding_window(i, j, window)", "j >= size(j) - window")
    )
    analysis = attn_dsl.compile(text, window=256).analyze(i=1, j=1 << 20, d=128, e=128, tiles=(16, 64))
    assert analysis.forward is not None
    assert analysis.forward.kernels[0].read["K"] == 256 * 128 * 2
    assert analysis.forward.rooflines[0].busy < 1


def test_the_backward_pass_takes_seven_products_for_two() -> None:
    """Five products against two (Dao et al., 2022), and scores anew in both of its kernels: seven."""
    analysis = attn_dsl.compile(DENSE).analyze(h=2, i=1024, j=1024, backward=True)
    assert analysis.forward is not None and analysis.backward is not None
    assert analysis.backward.contractions.useful / analysis.forward.contractions.useful == pytest.approx(3.5)


def test_data_gives_exact_figures_and_bounds_without_it() -> None:
    attention = attn_dsl.compile(EXAMPLES / "masks/documents.attn")
    document = torch.arange(512, dtype=torch.int32)[None] // 100
    exact = attention.analyze(i=512, j=512, tensors={"document": document})
    expected = 5 * 100 * 101 // 2 + 12 * 13 // 2
    open_ = attention.analyze(i=512, j=512)
    assert exact.forward is not None and open_.forward is not None
    (known,), (unknown,) = exact.forward.kernels[0].loops, open_.forward.kernels[0].loops
    assert (known.live.low, known.live.high, known.exact) == (expected, expected, True)
    assert (unknown.live.low, unknown.live.high) == (0, 512 * 513 // 2)
    assert not unknown.exact and unknown.tiles.visited >= known.tiles.visited
    assert "the values of document are not given" in str(open_)
    assert "give samples by tensors" in str(open_)


@pytest.mark.parametrize("name", [n for n in example_names() if not n.startswith("coming/")])
def test_every_example_has_an_account(name: str) -> None:
    """Plain data, with useful operations that never exceed the executed ones."""
    case = CASES[name]
    attention = attn_dsl.compile(EXAMPLES / f"{name}.attn", params=case.params)
    named = {n: v for n, v in case.all_sizes(attention.cascade).items() if not n.startswith("_")}
    analysis = attention.analyze(**named)
    data = json.loads(json.dumps(analysis.to_dict()))
    assert data["forward"]["bytes"] > 0
    assert analysis.forward is not None
    for operations in (analysis.forward.contractions, analysis.forward.pointwise):
        assert operations.useful <= operations.executed
    assert all(line.seconds > 0 for line in analysis.forward.rooflines)
    assert attention.name in str(analysis)


def test_roofline_adds_up_on_one_unit_and_takes_the_slowest_of_several() -> None:
    analysis = attn_dsl.compile(DENSE).analyze(h=2, i=512, j=512)
    assert analysis.forward is not None
    from attn_dsl.account.roofline import roofline

    rates = {"bf16": 1e12, "f32": 1e12}
    beside = roofline(analysis.forward.kernels, Device("x", "cuda:90", 1, rates, 1e11, 1e10, 1e9))
    together = roofline(
        analysis.forward.kernels, Device("x", "cpu", 1, rates, 1e11, 1e10, 1e18, one_unit=True)
    )
    assert beside.seconds == pytest.approx(max(beside.parts.values()))
    assert beside.bound == max(beside.parts, key=beside.parts.__getitem__)
    arithmetic = [together.parts[n] for n in ("matrix", "vector", "special")]
    assert together.seconds == pytest.approx(sum(arithmetic))


def test_an_index_called_as_methods_call_their_object() -> None:
    text = """attention named
input Q[self, d], K[j, d]
S[self,j] += Q[self,d] * K[j,d]
O[self] += S[self,j] ** 2
output O[self]
"""
    attention = attn_dsl.compile(text)
    assert attention.analyze(self=64, j=64, d=16).forward is not None
    assert "self" in attention.source("cpu", self=64, d=16)


def test_samples_that_are_negated_views() -> None:
    """Their sign is a bit of the view, which numpy does not know."""
    attention = attn_dsl.compile(EXAMPLES / "masks/documents.attn")
    document = torch.arange(512, dtype=torch.int32)[None] // 100
    exact = attention.analyze(i=512, j=512, tensors={"document": negated(document)})
    assert exact.forward is not None
    (loop,) = exact.forward.kernels[0].loops
    assert (loop.live.low, loop.exact) == (5 * 100 * 101 // 2 + 12 * 13 // 2, True)


def test_devices_are_in_order() -> None:
    """What makers say of generations."""
    assert DEVICES["A100"].matrix["bf16"] < DEVICES["H100"].matrix["bf16"] < DEVICES["B200"].matrix["bf16"]
    assert DEVICES["H100"].bandwidth < DEVICES["H200"].bandwidth
    assert from_rates(2e11, 4e11, 1e11, 1e10, 5e9).vector == 1e11


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"i": 64}, "the size of 'j' is not given"),
        ({"i": 64, "j": 64, "k": 3}, "has no index 'k'"),
        ({"i": -1, "j": 64}, "the size of 'i' is -1"),
        ({"i": 64, "j": 64, "device": "V100"}, "there is no device 'V100'"),
        ({"i": 64, "j": 64, "tiles": (48, 64)}, "tiles is (48, 64)"),
        ({"i": 64, "j": 64, "dtype": torch.int8}, "dtype is torch.int8"),
        ({"i": 64, "j": 64, "tensors": {"W": torch.ones(2)}}, "has no input 'W'"),
        ({"i": 64, "j": 64, "tensors": {"Q": torch.ones(2)}}, "tensors['Q'] has 1 dimensions"),
        ({"i": 64, "j": 64, "tensors": {"Q": torch.ones(1, 1, 3, 64)}}, "tensors['Q'] has 3 along 'i'"),
    ],
)
def test_requests_that_do_not_fit(call: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        attn_dsl.compile(DENSE).analyze(**call)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_what_becomes_no_kernel_has_no_account() -> None:
    with pytest.raises(NotLoweredError, match="topk"):
        attn_dsl.compile(EXAMPLES / "coming/block_selection.attn").analyze(i=64, j=64)
