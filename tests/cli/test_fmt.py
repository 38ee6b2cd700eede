"""``attn fmt``: rewrites, checks, shows; never touches a file it cannot read."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attn_dsl.cli.main import attn

UNTIDY = "attention a   # a\ninput x[i,j]\nO[ i ]+=x[i , j]*2\noutput O[i]\n"


def fmt(*arguments: object) -> Result:
    return CliRunner().invoke(attn, ["fmt", *map(str, arguments)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.attn"
    path.write_text(UNTIDY)
    return path


def test_a_file_is_rewritten_once(file: Path) -> None:
    assert fmt(file).exit_code == 0
    tidy = file.read_text()
    assert "O[i] += x[i,j] * 2" in tidy and "# a" in tidy
    assert fmt("--check", file).exit_code == 0
    assert file.read_text() == tidy
    assert [p.name for p in file.parent.iterdir()] == ["a.attn"]


def test_check_fails_and_writes_nothing(file: Path) -> None:
    result = fmt("--check", file)
    assert result.exit_code == 1
    assert "would change" in result.output
    assert file.read_text() == UNTIDY


def test_diff_shows_the_lines_and_writes_nothing(file: Path) -> None:
    result = fmt("--diff", file)
    assert result.exit_code == 0
    assert "-O[ i ]+=x[i , j]*2" in result.output
    assert file.read_text() == UNTIDY


def test_a_wrong_file_is_left_as_it_is(file: Path) -> None:
    file.write_text("attention (((\n")
    result = fmt(file)
    assert result.exit_code == 1
    assert "error:" in result.output
    assert file.read_text() == "attention (((\n"
