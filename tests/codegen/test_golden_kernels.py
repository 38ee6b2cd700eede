"""Generated kernels as they stand: a change of the compiler shows here as a difference to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from attn_dsl.cli.lowering import example_program
from attn_dsl.language.load import load_file

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "kernels"
TARGETS = {"cuda:90": ("bf16", "py"), "cpu": ("f32", "cpp")}


def generated(name: str, architecture: str) -> str:
    cascade = load_file(ROOT / "examples" / f"{name}.attn").cascade
    return example_program(cascade, dtype=TARGETS[architecture][0], architecture=architecture).source


@pytest.mark.parametrize("architecture", TARGETS)
@pytest.mark.parametrize("name", ["basic/dense", "masks/sink_window", "heads/differential"])
def test_the_generated_text(name: str, architecture: str, golden: Callable[[Path, str], None]) -> None:
    golden(
        GOLDEN / f"{name.split('/')[1]}.{TARGETS[architecture][1]}.txt",
        generated(name, architecture),
    )
