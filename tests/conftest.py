"""``--renew-golden`` writes the expected texts of golden tests anew, to be read before they are committed."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# No test asserts wall-clock time; in CI a failure must be there again on the next run.
settings.register_profile("suite", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-golden", action="store_true", help="write expected texts anew")


@pytest.fixture
def quick_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Native kernels with less optimisation, where their number counts: a third of the compiler's time."""
    monkeypatch.setenv("ATTN_DSL_CXXFLAGS", "-O1")


@pytest.fixture
def plain_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Native kernels without optimisation: half the compiler's time of ``quick_builds``, for many small
    programs."""
    monkeypatch.setenv("ATTN_DSL_CXXFLAGS", "-O0")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compares a text with a file, or writes it there."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--renew-golden"):
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: pytest --renew-golden writes it"
        expected = path.read_text(encoding="utf-8")
        if text != expected:  # pytest's own comparison takes minutes for long texts
            lines = difflib.unified_diff(
                expected.splitlines(), text.splitlines(), str(path), "now", lineterm=""
            )
            pytest.fail("\n".join(list(lines)[:80]), pytrace=False)

    return compare
