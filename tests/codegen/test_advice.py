"""What makes a kernel slow is told at its place, with what to write instead; what is fine is not spoken
of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from attn_dsl.cli.lowering import slow_spots
from attn_dsl.language.load import load_file
from tests.examples.cases import EXAMPLES

FOLDER = Path(__file__).parents[1] / "golden" / "advice"
FILES = sorted(FOLDER.glob("*.attn"))


def told(path: Path) -> str:
    specification = load_file(path)
    found = (*specification.warnings, *slow_spots(specification.cascade))
    return "\n\n".join(d.render(specification.sources) for d in found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_advice(path: Path, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    shown = told(Path(path.name))
    assert shown.count("warning: ") == shown.count("= help: ") == shown.count(f"--> {path.name}:") > 0
    golden(path.with_suffix(".txt"), shown + "\n")


@pytest.mark.parametrize(
    "name",
    [
        "basic/dense", "masks/sink_window", "masks/block_diagonal", "multidim/neighbourhood_2d", "cache/page_table",
        "cache/column_sums", "normalisers/landmark", "heads/latent", "normalisers/sigmoid", "cache/lengths",
    ],
)  # fmt: skip
def test_nothing_is_said_of_what_is_planned(name: str) -> None:
    """Bounds, one pass, pages read in stretches: there is nothing better to write."""
    allowed = "ties two indices" if name == "normalisers/landmark" else None
    shown = told(EXAMPLES / f"{name}.attn")
    assert not shown or (allowed is not None and allowed in shown)
