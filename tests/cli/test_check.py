"""``attn check``: verdicts, positions, exit status, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attn_dsl.cli.main import attn

GOOD = """attention dense
input Q[b, h, i, d], K[b, h, j, d], V[b, h, j, e]
S[b,h,i,j] += Q[b,h,i,d] * K[b,h,j,d]
P[b,h,i,j] = softmax[j](S[b,h,i,j])
O[b,h,i,e] += P[b,h,i,j] * V[b,h,j,e]
output O[b, h, i, e]
"""
BAD = GOOD.replace("S[b,h,i,j] +=", "S[b,h,i,j] =")


def check(*arguments: object) -> Result:
    return CliRunner().invoke(attn, ["check", "--language-only", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.attn").write_text(GOOD)
    (tmp_path / "bad.attn").write_text(BAD)
    return tmp_path


def test_a_legal_file_is_fine(folder: Path) -> None:
    result = check(folder / "good.attn")
    assert result.exit_code == 0
    assert "dense is legal" in result.output


def test_a_wrong_file_is_shown_with_its_line(folder: Path) -> None:
    result = check(folder / "bad.attn")
    assert result.exit_code == 1
    assert "stands only on the right" in result.output
    assert "bad.attn:3:" in result.output
    assert "S[b,h,i,j] = Q[b,h,i,d]" in result.output
    assert "^" in result.output and "help:" in result.output


def test_a_folder_stands_for_its_files(folder: Path) -> None:
    result = check(folder)
    assert result.exit_code == 1
    assert "2 files: 1 legal, 1 wrong" in result.output


def test_json_says_the_same(folder: Path) -> None:
    result = check("--json", folder)
    assert result.exit_code == 1
    bad, good = json.loads(result.output)["files"]
    assert (good["name"], good["legal"], good["diagnostics"]) == ("dense", True, [])
    assert not bad["legal"]
    assert bad["diagnostics"][0]["place"]["line"] == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.attn", b"", "error:"),
        ("binary.attn", b"\xff\xfe\x00\x01", "not UTF-8"),
        ("zeros.attn", b"\x00" * 64, "error:"),
    ],
)
def test_what_is_no_text_of_ours_gets_a_message(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    result = check(tmp_path / name)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    result = check(tmp_path / "nothing.attn")
    assert result.exit_code == 1
    assert "nothing.attn" in result.output and "no such file" in result.output


def test_without_a_file_the_usage_is_wrong() -> None:
    assert check().exit_code == 2


def test_a_file_of_definitions_is_a_library(tmp_path: Path) -> None:
    (tmp_path / "lib.attn").write_text("def twice(x) = 2 * x\nmask near = j <= i\n")
    result = check(tmp_path / "lib.attn")
    assert result.exit_code == 0
    assert "a library" in result.output


HALF = """attention half
input Q[b,i,d], K[b,j,d], V[b,j,e]
E[b,j,d] = exp(K[b,j,d])
S[b,i,j] += Q[b,i,d] * E[b, j // 2, d]
P[b,i,j] = softmax[j](S[b,i,j])
O[b,i,e] += P[b,i,j] * V[b,j,e]
output O[b,i,e]
"""


def test_what_has_no_gradient_says_so(tmp_path: Path) -> None:
    """It is no warning: a file without gradients may be all that is wanted."""
    (tmp_path / "half.attn").write_text(HALF)
    result = CliRunner().invoke(attn, ["check", str(tmp_path / "half.attn")])
    assert result.exit_code == 0
    assert "half is legal and becomes a kernel" in result.output
    assert "gradient: no, line 4, because 'E' is computed, and read at computed places" in result.output
    data = json.loads(CliRunner().invoke(attn, ["check", "--json", str(tmp_path / "half.attn")]).output)
    (found,) = data["files"]
    assert found["lowered"] and found["gradient"] is False and found["no_gradient"][0]["place"]["line"] == 4


def test_a_gradient_that_is_there_is_not_spoken_of(folder: Path) -> None:
    result = CliRunner().invoke(attn, ["check", "--json", str(folder / "good.attn")])
    (found,) = json.loads(result.output)["files"]
    assert found["gradient"] is True and found["no_gradient"] == []
