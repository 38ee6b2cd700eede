"""What the kernels of the examples take on a GPU, as it was recorded, and that it has not become more."""

from __future__ import annotations

import json

import pytest

from benchmarks.resources import RESULT, Table, call_key, calls, lowered_examples, measured

TABLE: Table = json.loads(RESULT.read_text())
# What ptxas gives varies a little with what surrounds a kernel.
MORE_REGISTERS = 16
SPILLING_BACKWARD = {"heads/latent", "linear/linear", "normalisers/landmark", "positions/relative_logits"}
RECOMPILED = ("basic/dense", "masks/sink_window", "basic/convolved_keys")


def test_every_example_is_recorded_for_every_architecture() -> None:
    expected = {(name, call_key(a, sizes)) for name in lowered_examples() for a, sizes in calls(name)}
    missing = {(name, key) for name, key in expected if not isinstance(TABLE.get(name, {}).get(key), list)}
    assert not missing


def test_the_backward_pass_of_every_example_is_recorded() -> None:
    """The other two architectures are recorded in part."""
    expected = {
        (name, f"{call_key(a, sizes)} backward")
        for name in lowered_examples()
        for a, sizes in calls(name)
        if a in ("cuda:90", "cuda:80")
    }
    missing = {(name, key) for name, key in expected if not isinstance(TABLE.get(name, {}).get(key), list)}
    assert not missing


def test_nothing_spills_on_a_hopper() -> None:
    assert not {where for where in spilling() if not where[1].endswith("backward")}


def test_few_backward_kernels_spill_on_a_hopper() -> None:
    """The latent of 512, and what is no product of matrices; none more than these."""
    assert {name for name, key in spilling() if key.endswith("backward")} <= SPILLING_BACKWARD


def spilling() -> set[tuple[str, str]]:
    return {
        (name, key)
        for name, rows in TABLE.items()
        for key, kernels in rows.items()
        if key.startswith("cuda:90") and isinstance(kernels, list)
        for row in kernels
        if row["spilled_bytes"]
    }


@pytest.mark.parametrize("name", RECOMPILED)
def test_a_kernel_takes_no_more_than_it_did(name: str) -> None:
    architecture, sizes = next(iter(calls(name)))
    now, recorded = measured(name, architecture, sizes), TABLE[name][call_key(architecture, sizes)]
    assert isinstance(now, list) and isinstance(recorded, list) and len(now) == len(recorded)
    for mine, before in zip(now, recorded, strict=True):
        assert mine["spilled_bytes"] <= before["spilled_bytes"]
        assert mine["registers"] <= before["registers"] + MORE_REGISTERS
        assert set(before["instructions"]) <= set(mine["instructions"])
