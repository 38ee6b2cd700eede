"""The language model of the examples learns the same with a file as with what torch has, where the two are
the same."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example, at a smaller size."""
    spec = importlib.util.spec_from_file_location("train_tiny_lm", EXAMPLES / "train_tiny_lm.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "train_tiny_lm", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "CONTEXT", 48)
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(module, "VALIDATION", 8)
    return module


def test_a_causal_file_and_sdpa_give_the_same_losses(script: ModuleType, tmp_path: Path) -> None:
    picture = tmp_path / "new" / "curves.png"
    causal = EXAMPLES / "heads" / "grouped_query.attn"
    arguments = ["--steps", "3", "--plot", str(picture), "--attention", str(causal)]
    result = CliRunner().invoke(script.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert picture.stat().st_size > 5000
    rows = [line.split("│") for line in result.output.splitlines() if line.startswith("│")]
    ours, torchs = ([float(cell) for cell in row[2:4]] for row in rows)
    assert ours == pytest.approx(torchs, abs=2e-3)  # printed to three places


@pytest.mark.parametrize(
    ("file", "said"), [("basic/dense.attn", "sees later keys"), ("masks/documents.attn", "'document'")]
)
def test_what_cannot_be_a_language_model_is_refused(script: ModuleType, file: str, said: str) -> None:
    result = CliRunner().invoke(script.main, ["--steps", "1", "--attention", str(EXAMPLES / file)])
    assert result.exit_code == 2
    assert said in result.output
