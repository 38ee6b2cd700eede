"""The command as a process: version, help, pipes, colour."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attn_dsl.version import __version__

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "attn_dsl.cli.main"]


def attn(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_version() -> None:
    assert attn("--version").stdout.strip() == f"attn, version {__version__}"


@pytest.mark.parametrize("command", ["check", "fmt", "show", "run", "test", "cache"])
def test_every_command_has_help_with_its_exit_status(command: str) -> None:
    done = attn(command, "--help")
    assert done.returncode == 0
    assert "Exit status:" in done.stdout
    assert command in attn("--help").stdout


def test_an_unknown_command_is_wrong_usage() -> None:
    done = attn("chekc")
    assert done.returncode == 2
    assert "No such command" in done.stderr


def test_no_colour_in_a_pipe_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "bad.attn").write_text("attention x\noutput O[i]\n")
    done = attn("show", str(tmp_path / "bad.attn"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error:")
    assert "\x1b[" not in done.stderr and "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_crash() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    show = [*COMMAND, "show", "--cascade", "examples/basic/dense.attn"]
    done = subprocess.run(show, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert "Traceback" not in done.stderr


def test_help_needs_no_torch() -> None:
    program = (
        "import sys\n"
        "from attn_dsl.cli.main import attn\n"
        "from click.testing import CliRunner\n"
        "assert CliRunner().invoke(attn, ['--help']).exit_code == 0\n"
        "print([m for m in ('torch', 'triton', 'sympy') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def broken(error: str, file: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``attn check`` with a fault in it."""
    program = (
        "import sys\nimport attn_dsl.cli.check as check\nfrom attn_dsl.cli.main import main\n"
        f"def fault(*_, **__):\n    raise {error}\n"
        f"check.examine = fault\nsys.argv = ['attn', 'check', {str(file)!r}]\nmain()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


EXAMPLE = ROOT / "examples" / "basic" / "dense.attn"


def test_a_fault_of_ours_is_one_sentence_and_a_file(tmp_path: Path) -> None:
    done = broken("ValueError('boom \\x1b[31m\\nsecond line')", EXAMPLE, XDG_STATE_HOME=str(tmp_path))
    assert done.returncode == 70
    assert done.stdout == ""
    sentence = done.stderr.strip()
    assert "\n" not in sentence and "\x1b" not in sentence and "Traceback" not in sentence
    assert "ValueError: boom" in sentence and "open an issue" in sentence
    (written,) = tmp_path.rglob("crash-*.txt")
    assert str(written) in sentence
    text = written.read_text()
    assert "Traceback" in text and "second line" in text and "dense.attn" in text
    assert written.stat().st_mode & 0o077 == 0


def test_a_fault_where_nothing_can_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = broken("RecursionError()", EXAMPLE, XDG_STATE_HOME=str(blocked), TMPDIR=str(tmp_path))
    assert done.returncode == 70 and str(tmp_path / "crash-") in done.stderr


def test_an_interruption_is_130(tmp_path: Path) -> None:
    done = broken("KeyboardInterrupt()", EXAMPLE, XDG_STATE_HOME=str(tmp_path))
    assert done.returncode == 130
    assert "Traceback" not in done.stderr and "internal" not in done.stderr
    assert not list(tmp_path.rglob("crash-*"))
