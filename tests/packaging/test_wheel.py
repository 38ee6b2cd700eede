"""What an installed package holds: the stages inside ``attn_dsl``, their data, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    """A wheel of the checkout, built by the backend directly: no network."""
    out = tmp_path_factory.mktemp("wheel")
    build = f"from hatchling.build import build_wheel; build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True)
    with ZipFile(next(out.glob("*.whl"))) as archive:
        yield archive


def _tracked(folder: str, suffix: str) -> set[str]:
    return {str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob(f"*{suffix}") if p.is_file()}


def test_every_stage_is_inside_the_package(wheel: ZipFile) -> None:
    names = set(wheel.namelist())
    for folder, suffix in (
        ("codegen", ".py"),
        ("grammar", ".attn"),
        ("grammar", ".lark"),
        ("templates", ".j2"),
        ("templates", ".css"),
    ):
        inside = {f"attn_dsl/{name}" for name in _tracked(folder, suffix)}
        assert inside <= names, f"missing from the wheel: {sorted(inside - names)}"
    for name in _tracked("attn_dsl", ".py"):
        assert name in names


def test_nothing_else_is_installed(wheel: ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    version = next(t for t in tops if t.endswith(".dist-info"))
    assert tops == {"attn_dsl", version}
    assert not [n for n in wheel.namelist() if "__pycache__" in n]


def test_no_file_is_packed_twice(wheel: ZipFile) -> None:
    names = wheel.namelist()
    assert len(names) == len(set(names))


def test_the_command_and_the_plugin_are_declared(wheel: ZipFile) -> None:
    name = next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    text = wheel.read(name).decode()
    assert "attn = attn_dsl.cli.main:main" in text
    assert "attn_dsl = attn_dsl.testing.pytest_plugin" in text


def test_the_language_loads_from_the_wheel_alone(wheel: ZipFile, tmp_path: Path) -> None:
    """The grammar and the prelude are found where they are installed, away from the checkout."""
    wheel.extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import attn_dsl.language.load as load\n"
        f"assert load.__file__.startswith({str(tmp_path)!r}), load.__file__\n"
        "text = 'attention a\\ninput x[i, j]\\nO[i] = logsumexp[j](x[i,j])\\noutput O[i]\\n'\n"
        "print(load.load_text(text).cascade.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "a"
