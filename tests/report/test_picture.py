"""``attn picture`` and ``attention.picture``: every kind, as text and as a file, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from click.testing import CliRunner, Result

import attn_dsl
from attn_dsl.cli.main import attn
from attn_dsl.cli.picture import KINDS
from attn_dsl.errors import ArgumentError, AttnError
from attn_dsl.report import picture as pictures
from tests.examples.cases import EXAMPLES

GOLDEN = Path(__file__).parents[1] / "golden" / "pictures"
WINDOW = EXAMPLES / "masks" / "sink_window.attn"


def draw(*arguments: object) -> Result:
    return CliRunner().invoke(attn, ["picture", *map(str, arguments)], env={"COLUMNS": "80"})


def test_the_command_knows_the_kinds() -> None:
    assert KINDS == pictures.KINDS


@pytest.mark.parametrize("kind", ["mask", "tiles", "histogram", "roofline"])
def test_text_is_as_expected(kind: str, golden: Callable[[Path, str], None]) -> None:
    sizes = ("--size", "i=96", "--size", "j=96", "-p", "window=40", "-p", "sinks=3", "--tiles", "16x16")
    result = draw(WINDOW, "--kind", kind, *sizes)
    assert result.exit_code == 0
    golden(GOLDEN / f"{kind}.txt", result.output)


def test_colour_shows_tiles_in_three_shades() -> None:
    found = attn_dsl.compile(WINDOW, window=40).picture(i=96, j=96, tiles=(16, 16))
    styles = {str(span.style) for span in found.text(60, colour=True).spans}
    assert {"#2f6da3", "#6aa9dc", "#3f4a55"} <= {c for style in styles for c in style.split()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_a_file(kind: str, tmp_path: Path) -> None:
    for form in ("png", "svg"):
        out = tmp_path / f"{kind}.{form}"
        result = draw(WINDOW, "--kind", kind, "--size", "i=64", "--size", "j=64", "-o", out)
        assert result.exit_code == 0, result.output
        data = out.read_bytes()
        if form == "png":
            assert data.startswith(b"\x89PNG")
        else:
            assert ElementTree.fromstring(data).tag.endswith("svg")


def test_the_same_picture_is_the_same_bytes(tmp_path: Path) -> None:
    found = attn_dsl.compile(WINDOW, window=8).picture(i=32, j=32)
    first, second = (found.save(tmp_path / n).read_bytes() for n in ("a.svg", "b.svg"))
    assert first == second


def test_weights_are_of_the_tensors_given() -> None:
    attention = attn_dsl.compile(EXAMPLES / "basic" / "dense.attn")
    torch.manual_seed(0)
    q, k = torch.randn(1, 1, 4, 8), torch.randn(1, 1, 6, 8)
    text = str(attention.picture("weights", tensors={"Q": q, "K": k}))
    weights = (q @ k.mT / 8**0.5).softmax(-1)
    assert f"· {float(weights.min()):.3g} to █ {float(weights.max()):.3g}" in text
    assert "random" not in text


def test_masks_of_real_data() -> None:
    attention = attn_dsl.compile(EXAMPLES / "masks" / "documents.attn")
    document = torch.tensor([[0] * 8 + [1] * 8], dtype=torch.int32)
    text = str(attention.picture(tensors={"document": document}))
    assert "made up" not in text and "28.1% of 256 pairs exist" in text


def test_a_mechanism_without_a_stream_says_so(tmp_path: Path) -> None:
    path = tmp_path / "twice.attn"
    path.write_text("attention twice\ninput V[b, j, e]\nO[b,j,e] = 2 * V[b,j,e]\noutput O[b, j, e]\n")
    result = draw(path)
    assert result.exit_code == 1
    assert isinstance(result.exception, ArgumentError) and "has no pairs to draw" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "mask.gif"), "no picture ends in '.gif'"),
        (("-o", "mask"), "the name has no extension"),
        (("-o", "/nowhere/mask.png"), "there is no directory /nowhere"),
        (("--size", "i=0"), "index 'i' of size 0 shows nothing"),
        (("--kind", "weights", "--tensor", "Z"), "has no tensor 'Z'"),
        (("--device", "Z80"), "there is no device 'Z80'"),
        (("--size", "i=99999", "--size", "j=99999"), "are more than a picture shows"),
    ],
)
def test_what_cannot_be_drawn(arguments: tuple[str, ...], message: str) -> None:
    result = draw(WINDOW, *arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, AttnError) and message in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tensor", "P"), "--tensor is for --kind weights"),
        (("--kind", "weights", "--tiles", "16x16"), "evaluated by the reference"),
        (("--size", "q=3"), "no index 'q'"),
        (("--kind", "pie"), "is not one of"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    result = draw(WINDOW, *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_what_is_not_lowered_names_the_statement() -> None:
    result = draw(EXAMPLES / "coming" / "block_selection.attn")
    assert isinstance(result.exception, AttnError) and "topk" in str(result.exception)


def test_without_matplotlib_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = draw(WINDOW, "-o", tmp_path / "mask.png")
    assert isinstance(result.exception, AttnError) and "[report]" in str(result.exception)
    assert draw(WINDOW, "--size", "i=32", "--size", "j=32").exit_code == 0
