"""``.attn`` files as tests, run by a pytest of their own, which finds the plugin as an installed one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """attention good
input Q[b, i, d], K[b, j, d], V[b, j, e]
S[b,i,j] += Q[b,i,d] * K[b,j,d]
P[b,i,j]  = softmax[j](S[b,i,j])
O[b,i,e] += P[b,i,j] * V[b,j,e]
output O[b, i, e]
"""
BAD = "attention bad\ninput Q[b, i, d]\nO[b,i] = Q[b,i,d]\noutput O[b, i]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.attn").write_text(GOOD)
    (tmp_path / "bad.attn").write_text(BAD)
    (tmp_path / "library.attn").write_text("# attention is not declared here\ndef twice(x) = 2 * x\n")
    return tmp_path


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    command += ["--rootdir", str(folder), "-v", *arguments]
    environment = {"PATH": os.environ["PATH"], "ATTN_DSL_CACHE": str(folder / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_named_file_is_a_test(folder: Path) -> None:
    code, text = run(folder, "good.attn", "--attn-examples", "2")
    assert code == 0, text
    assert "1 passed" in text


def test_folders_are_searched_when_asked(folder: Path) -> None:
    assert "no tests ran" in run(folder, ".")[1]
    code, text = run(folder, ".", "--attn", "--attn-examples", "1")
    assert code == 1, text
    assert "1 failed, 1 passed" in text


def test_a_bad_file_shows_its_error_and_no_traceback(folder: Path) -> None:
    code, text = run(folder, "bad.attn")
    assert code == 1
    assert "bad.attn:3" in text
    assert "index 'd' stands only on the right" in text
    assert "Traceback" not in text
    assert "attn_dsl/testing" not in text
