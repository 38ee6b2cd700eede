"""The harness measures what it says: the cases are what their peers compute, and useful FLOPs are those of
live pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks.cases import CASES, HEADS, Case
from benchmarks.peers import implementations
from benchmarks.rendering import cells, geometric_mean, markdown, render_all
from benchmarks.timing import interleaved

LENGTH = 150


def length(case: Case) -> int:
    return case.only[0] if case.only else LENGTH


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_live_pairs_are_those_of_the_mask(case: Case) -> None:
    """Counted one by one over the mask in FlexAttention's terms, which shares nothing with the formula."""
    n = length(case)
    if case.flex is None or case.flex.mask is None:
        assert case.live_pairs(n) == HEADS * n * n
        return
    i, j = torch.arange(n)[:, None], torch.arange(n)[None, :]
    mask = case.flex.mask(case.arguments(n, 8), n)(0, 0, i, j)
    assert case.live_pairs(n) == HEADS * int(mask.expand(n, n).sum())


@pytest.mark.parametrize("case", [c for c in CASES if not c.only], ids=lambda case: case.name)
def test_every_peer_computes_the_case(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """FlexAttention without torch.compile, which gives the same values and takes seconds less."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    with torch.no_grad():
        calls = implementations(case, case.arguments(LENGTH, 16), LENGTH, 16)
        expected = calls["eager dense"]()
        assert {"attn_dsl", "eager dense"} <= set(calls) and (case.flex is None or "flex" in calls)
        for name, call in calls.items():
            torch.testing.assert_close(
                call(), expected, atol=2e-4, rtol=2e-4, msg=lambda m, n=name: f"{n}: {m}"
            )


def test_rounds_are_interleaved_and_as_many_as_fit() -> None:
    order: list[str] = []
    found = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, "cpu")
    assert order == ["a", "b"] * 16 and found["a"].rounds == 15
    assert found["a"].lower <= found["a"].median <= found["a"].upper


def test_the_command_measures_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    arguments = [
        "--suite",
        "speed",
        "--case",
        "causal",
        "--length",
        "64",
        "--features",
        "64",
        "--out",
        str(tmp_path),
    ]
    done = CliRunner().invoke(command.main, arguments)
    assert done.exit_code == 0, done.output
    assert "| causal | 64 | 64 |" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "speedup.png").stat().st_size > 1000 and (tmp_path / "speed.png").stat().st_size > 1000


def test_what_does_not_agree_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_wrong(*_: Any) -> dict[str, Any]:
        return {"attn_dsl": lambda: torch.zeros(2), "flex": lambda: torch.ones(2), "sdpa": lambda: 1 / 0}

    monkeypatch.setattr(command, "implementations", one_wrong)
    found = command.cell(CASES[0], 64, 64, torch.float32, "cpu")
    assert set(found["timings"]) == {"attn_dsl"}
    assert found["left out"]["flex"].startswith("differs") and found["left out"]["sdpa"].startswith(
        "ZeroDivision"
    )


def test_the_report_of_what_was_measured() -> None:
    def timing(seconds: float) -> dict[str, float]:
        return {"median": seconds, "lower": seconds * 0.9, "upper": seconds * 1.1, "rounds": 3}

    data = {
        "machine": {"device": "D", "threads": 2, "date": "2026-01-01", "torch": "2", "attn_dsl": "0", "python": "3"},
        "ceilings": {"gemm_flops": 1e11, "copy_bytes": 1e10},
        "speed": {"dense|128|64": {"flops": 1e9, "timings": {"attn_dsl": timing(0.02), "flex": timing(0.05)}}},
    }  # fmt: skip
    text = "\n".join(markdown(data))
    assert "| dense | 128 | 64 | 20.00 ± 10 % | 50 | 50 % | 50.00 ± 10 % | – | – | – | 2.50 |" in text
    assert "against FlexAttention (compiled): 2.50×" in text
    assert next(cells(data)).speedup("sdpa") is None
    assert geometric_mean([1.0, 4.0]) == 2.0


def test_an_empty_report_is_drawn(tmp_path: Path) -> None:
    data = {
        "machine": {"device": "D", "threads": 2, "date": "2026-01-01", "torch": "2", "attn_dsl": "0", "python": "3"},
        "ceilings": {"gemm_flops": 1e11, "copy_bytes": 1e10},
    }  # fmt: skip
    render_all(data, tmp_path)
    assert (tmp_path / "results.md").exists()


def test_a_case_that_there_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command.main, ["--case", "sliding_windo"])
    assert done.exit_code == 2
    assert "no case 'sliding_windo'; there are: " in done.output
    assert not list(tmp_path.iterdir())


def test_the_results_of_the_repository_are_written_only_where_they_are_named() -> None:
    assert not command.RESULTS.is_absolute()
