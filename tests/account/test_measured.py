"""What this machine can do: the best of several measurements, of what the kernels do."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from attn_dsl.account import measured
from attn_dsl.account.devices import device
from attn_dsl.account.measured import from_rates, this_cpu

RATES = {"gemm": 1e11, "gemm_bf16": 2e11, "gemm_f64": 5e10, "copy": 1e10, "special": 1e9}


class Machine:
    """A clock, and a machine that is busy at times."""

    def __init__(self) -> None:
        self.now = 1e9
        self.share = 1.0
        self.measurements = 0

    def measure(self) -> dict[str, float]:
        self.measurements += 1
        return {name: rate * self.share for name, rate in RATES.items()}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    made = Machine()
    monkeypatch.setenv("ATTN_DSL_CACHE", str(tmp_path))
    monkeypatch.setattr(measured, "measure", made.measure)
    monkeypatch.setattr(measured, "time", lambda: made.now)
    this_cpu.cache_clear()
    yield made
    this_cpu.cache_clear()


def rate(dtype: str = "f32") -> float:
    """As a new process finds it."""
    this_cpu.cache_clear()
    return device("cpu").matrix[dtype]


def test_bf16_is_never_slower_than_what_it_is_widened_to() -> None:
    assert from_rates(2e11, 1e9, 1e11, 1e10, 5e9).matrix["bf16"] == 2e11
    assert from_rates(2e11, 4e11, 1e11, 1e10, 5e9).matrix["bf16"] == 4e11


def test_a_rate_of_a_busy_machine_is_not_kept(machine: Machine) -> None:
    machine.share = 0.1
    assert rate() == pytest.approx(1e10)
    machine.share = 1.0
    assert rate() == pytest.approx(1e10)
    machine.now += 2 * 3600
    assert rate() == 1e11


def test_a_better_one_wins(machine: Machine) -> None:
    assert rate() == 1e11
    machine.share, machine.now = 0.5, machine.now + 1e7
    assert rate() == 1e11
    assert machine.measurements == 2


def test_after_several_it_is_measured_no_more_for_a_while(machine: Machine) -> None:
    for _ in range(20):
        machine.now += 2 * 3600
        rate()
    assert machine.measurements == 5
    machine.now += 40 * 86400
    rate()
    assert machine.measurements == 6


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps(RATES), '{"rates": 3, "measured": []}'])
def test_what_cannot_be_read_is_measured(machine: Machine, tmp_path: Path, text: str) -> None:
    rate()
    (file,) = tmp_path.glob("machine-*.json")
    file.write_text(text)
    assert rate() == 1e11
    assert machine.measurements == 2
