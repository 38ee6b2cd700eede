"""``attn run``, ``attn show --source`` and ``attn cache``: the whole way from text to a result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attn_dsl.cli.main import attn
from attn_dsl.cli.run import compare

EXAMPLE = "examples/masks/sliding_window.attn"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTN_DSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(ROOT)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(attn, list(arguments), catch_exceptions=False)


def test_a_run_agrees_and_says_so() -> None:
    result = invoke("run", EXAMPLE, "-p", "window=8", "--size", "i=20", "--size", "j=20", "--device", "cpu")
    assert result.exit_code == 0
    assert "agrees with the reference" in result.output
    assert "Q[2, 4, 20, 64]" in result.output


def test_a_run_as_json() -> None:
    sizes = [word for name in "ijde" for word in ("--size", f"{name}=17")]
    result = invoke("run", EXAMPLE, "--json", "--dtype", "bf16", "--device", "cpu", *sizes)
    data = json.loads(result.output)
    (found,) = data["results"]
    assert found["agrees"] and found["dtype"] == "bfloat16" and found["shape"] == [2, 4, 17, 17]


def test_a_result_too_large_for_the_reference_is_judged_at_some_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    from attn_dsl.testing import sampling

    arguments = ("run", EXAMPLE, "-p", "window=8", "--size", "i=60", "--size", "j=60", "--device", "cpu")
    monkeypatch.setattr(sampling, "LARGEST", 2 * 4 * 60 * 20)
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert "agrees with the reference at 15 of 60 places of 'i'" in result.output
    assert "a call after it: " in result.output
    monkeypatch.setattr(sampling, "LARGEST", 10)
    result = invoke(*arguments)
    assert result.exit_code == 0
    assert "is not judged: the reference takes too much memory" in result.output
    (found,) = json.loads(invoke(*arguments, "--json").output)["results"]
    assert found["agrees"] is None


def test_a_difference_is_found() -> None:
    import torch

    expected = torch.randn(100, 10)
    wrong = expected.clone()
    wrong[50, 5] += 0.01
    assert compare("O", expected, expected, "f32").agrees
    assert not compare("O", wrong, expected, "f32").agrees
    nan = torch.full((3,), float("nan"))
    assert compare("O", nan, nan, "f32").agrees
    assert not compare("O", nan, torch.zeros(3), "f32").agrees


def test_the_source_names_the_users_tensors() -> None:
    source = invoke("show", EXAMPLE, "--source", "--size", "d=32", "--size", "e=32").output
    compile(source, "generated", "exec")
    assert "Q_ptr" in source and "@triton.jit" in source


def test_the_cache_is_listed_and_emptied(tmp_path: Path) -> None:
    assert invoke("cache", "path").output.strip() == str(tmp_path / "cache")
    assert json.loads(invoke("cache", "list", "--json").output)["entries"] == []
    invoke("run", EXAMPLE, "--size", "i=4", "--size", "j=4", "--device", "cpu")
    assert len(json.loads(invoke("cache", "list", "--json").output)["entries"]) == 1
    assert "1 entry removed" in invoke("cache", "clear").output
    assert "0 entries" in invoke("cache").output


def test_a_file_of_what_is_not_lowered_is_legal_but_has_no_source() -> None:
    path = "examples/coming/block_selection.attn"
    checked = invoke("check", path)
    assert checked.exit_code == 0
    assert "not lowered" in checked.output
    process = CliRunner().invoke(attn, ["show", path, "--source"])
    assert process.exit_code == 1
    assert type(process.exception).__name__ == "NotLoweredError"
