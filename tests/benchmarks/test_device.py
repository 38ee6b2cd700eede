"""The device check deals each task to one process, replaces what dies, and ends whatever happens."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from benchmarks import device


def _process() -> SimpleNamespace:
    return SimpleNamespace(poll=lambda: None, kill=lambda: None, wait=lambda: 0)


def test_each_task_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_started", lambda dry: _process())
    monkeypatch.setattr(
        device, "_asked", lambda process, task: device.Outcome(task.name, task.dtype, task.draw, "", "")
    )
    names = [f"example {n}" for n in range(200)]
    found = [(o.name, o.dtype) for o in device.run(names, True, time.monotonic() + 60, 8)]
    assert sorted(found) == sorted((n, d) for n in names for d in device.DTYPES)


def test_a_process_that_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[bool] = []
    monkeypatch.setattr(device, "_started", lambda dry: started.append(dry) or _process())
    monkeypatch.setattr(
        device, "_asked",
        lambda process, task: device.Outcome(task.name, task.dtype, task.draw, "died", "", poisoned=True),
    )  # fmt: skip
    ended: list[object] = []

    def end(process: object) -> None:
        ended.append(process)

    monkeypatch.setattr(device, "_ended", end)
    outcomes = list(device.run(["a", "b"], True, time.monotonic() + 60, 1))
    assert len(outcomes) == 4 and all(o.wrong == "died" for o in outcomes)
    assert len(ended) >= 4


def test_a_thread_that_fails_does_not_keep_the_rest_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(dry: bool) -> SimpleNamespace:
        raise OSError("no more processes")

    monkeypatch.setattr(device, "_started", fails)
    assert list(device.run(["a"], True, time.monotonic() + 60, 3)) == []
