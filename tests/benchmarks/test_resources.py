"""What the kernels of the examples take on a GPU, as it was recorded, and that it has not become more."""

from __future__ import annotations

import json

import pytest

import attn_dsl
from benchmarks.resources import EXAMPLES, RESULT, Table, call_key, calls, lowered_examples, measured

TABLE: Table = json.loads(RESULT.read_text())
# What ptxas gives varies a little with what surrounds a kernel.
MORE_REGISTERS = 16
# Bytes a thread: the latent of 512 features, and one register of a kernel that sends to two tables.
SPILLING_BACKWARD = {"heads/latent": 456, "positions/relative_vectors": 8}
RECOMPILED = (
    ("basic/dense", False),
    ("masks/sink_window", False),
    ("basic/convolved_keys", False),
    ("linear/linear", True),
)


@pytest.mark.parametrize("backward", [False, True])
def test_every_example_is_recorded_for_every_architecture(backward: bool) -> None:
    expected = {(name, full_key(a, s, backward)) for name in lowered_examples() for a, s in calls(name)}
    missing = {(name, key) for name, key in expected if not isinstance(TABLE.get(name, {}).get(key), list)}
    assert not missing


def full_key(architecture: str, sizes: dict[str, int], backward: bool) -> str:
    return call_key(architecture, sizes) + (" backward" if backward else "")


def test_nothing_spills_on_a_hopper() -> None:
    assert not {where for where in spilling() if not where[1].endswith("backward")}


def test_few_backward_kernels_spill_on_a_hopper() -> None:
    found = {name: spilled for (name, key), spilled in spilling().items() if key.endswith("backward")}
    assert all(spilled <= SPILLING_BACKWARD.get(name, 0) for name, spilled in found.items())


def spilling() -> dict[tuple[str, str], int]:
    """The bytes spilled on a Hopper by the kernels of an example together, where any are."""
    found = {
        (name, key): sum(row["spilled_bytes"] for row in kernels)
        for name, rows in TABLE.items()
        for key, kernels in rows.items()
        if key.startswith("cuda:90") and isinstance(kernels, list)
    }
    return {where: spilled for where, spilled in found.items() if spilled}


@pytest.mark.parametrize("architecture", ["cuda:90", "hip:gfx942"])
def test_a_thread_takes_no_more_registers_than_it_may(architecture: str) -> None:
    """On NVIDIA; elsewhere the option means nothing."""
    schedule = attn_dsl.Schedule(row_tile=64, stream_tile=32, max_registers=64)
    attention = attn_dsl.compile(EXAMPLES / "basic" / "dense.attn", schedule=schedule)
    (kernel,) = attention.lower(architecture, d=64, e=64)
    assert kernel.registers <= 64 or architecture.startswith("hip")


@pytest.mark.parametrize(("name", "backward"), RECOMPILED)
def test_a_kernel_takes_no_more_than_it_did(name: str, backward: bool) -> None:
    architecture, sizes = next(iter(calls(name)))
    now = measured(name, architecture, sizes, backward)
    recorded = TABLE[name][full_key(architecture, sizes, backward)]
    assert isinstance(now, list) and isinstance(recorded, list) and len(now) == len(recorded)
    for mine, before in zip(now, recorded, strict=True):
        assert mine["spilled_bytes"] <= before["spilled_bytes"]
        assert mine["registers"] <= before["registers"] + MORE_REGISTERS
        assert set(before["instructions"]) <= set(mine["instructions"])
