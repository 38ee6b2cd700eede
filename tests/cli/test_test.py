"""``attn test``: agreement, disagreement, wrong files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from attn_dsl import testing
from attn_dsl.cli.main import attn

HALF = """attention half
input x[b,j], v[b,i,j]
E[b,j] = exp(x[b,j]); y[b,i] += v[b,i,j] * E[b, j // 2]
output y[b,i]
"""
ROW_SUMS = "attention sums\ninput x[i, j]\ny[i] += x[i,j]\noutput y[i]\n"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(attn, ["test", *map(str, arguments)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sums.attn"
    path.write_text(ROW_SUMS)
    return path


def test_kernels_that_agree(file: Path) -> None:
    result = run(file, "--examples", 2)
    assert result.exit_code == 0, result.output
    assert "agrees with its meaning" in result.output


def test_a_failure_is_reported_and_the_next_file_still_tested(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise AssertionError("y differs at [3]")

    monkeypatch.setattr(testing, "check", fails, raising=False)
    result = run(file, file, "--json")
    assert result.exit_code == 1
    assert [f["failure"] for f in json.loads(result.output)["files"]] == ["y differs at [3]"] * 2


def test_a_wrong_file_fails_with_its_message(tmp_path: Path) -> None:
    path = tmp_path / "bad.attn"
    path.write_text("attention a\noutput O[i]\n")
    result = run(path)
    assert result.exit_code == 1
    assert "failed" in result.output and "error:" in result.output


def test_no_examples_is_wrong_usage(file: Path) -> None:
    assert run(file, "--examples", 0).exit_code == 2


def test_what_has_no_gradient_is_reported_and_does_not_fail(tmp_path: Path) -> None:
    path = tmp_path / "half.attn"
    path.write_text(HALF)
    result = run(path, "--examples", 1)
    assert result.exit_code == 0, result.output
    assert "agrees with its meaning" in result.output
    assert "gradient: no, line 3, because 'E' is computed, and read at computed places" in result.output
