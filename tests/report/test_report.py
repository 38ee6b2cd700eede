"""``attn report``: one page that holds what it says, needs nothing else, and escapes what users write."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attn_dsl.cli.main import attn
from attn_dsl.errors import AttnError
from attn_dsl.language.load import load_file
from attn_dsl.report import section
from attn_dsl.report.diagram import diagram
from tests.examples.cases import EXAMPLES, example_names

_VOID = {"meta", "link", "br", "img", "path", "rect", "use", "image"}


@pytest.fixture(autouse=True)
def few_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section, "LENGTHS", (1024, 4096))


class _Balanced(HTMLParser):
    """Every element that is opened is closed, in order; ids are unique."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [v for n, v in attrs if n == "id" and v is not None]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [v for n, v in attrs if n == "id" and v is not None]

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


def write(out: Path, *arguments: object) -> Result:
    return CliRunner().invoke(attn, ["report", *map(str, arguments), "-o", str(out)])


def test_a_page_has_everything_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    result = write(out, EXAMPLES / "masks/documents.attn", "--size", "i=2048", "--device", "H200")
    assert result.exit_code == 0, result.output
    text = out.read_text()
    page = _Balanced(text)
    assert page.headings == [
        "documents", "Source", "Cascade", "Passes", "Masks and tiles", "Weights", "Costs", "Kernels", "Generated source",
    ]  # fmt: skip
    assert not re.search(r"https?://|<script|@import|url\((?!#)", text)
    assert not re.search(r"\b(?:src|href)=\"(?!#|data:)", text)
    assert "document made up" in text and "bf16 on H200" in text and "i = 2048" in text
    assert "tl.dot" in re.sub(r"<[^>]+>", "", text) and "#include" in re.sub(r"<[^>]+>", "", text)


def test_several_files_stand_side_by_side(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    files = [EXAMPLES / f"{n}.attn" for n in ("basic/dense", "masks/sink_window", "coming/block_selection")]
    assert write(out, *files, "-p", "sinks=8").exit_code == 0
    text = out.read_text()
    page = _Balanced(text)
    assert page.headings[0] == "3 attentions side by side"
    assert {"dense", "sink_window", "block_selection", "No kernel yet"} <= set(page.headings)
    assert "sinks = 8" in text and 'href="#a2"' in text and 'id="a2"' in text
    assert "&#39;topk&#39; is not lowered" in text


def test_what_a_user_writes_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a&b<i>.attn"
    path.write_text(
        "# <script>alert('&amp;')</script>\nattention evil\ninput Q[i, d], K[j, d], V[j, e]\n"
        "S[i,j] += Q[i,d] * K[j,d] where i < j and j < 7\nO[i,e] += S[i,j] * V[j,e]\noutput O[i, e]\n"
    )
    out = tmp_path / "report.html"
    assert write(out, path).exit_code == 0
    text = out.read_text()
    _Balanced(text)
    assert "<script" not in text and "&lt;script&gt;" in text
    assert "a&amp;b&lt;i&gt;.attn" in text and "<i>" not in text


@pytest.mark.parametrize("name", example_names())
def test_every_cascade_has_a_diagram_without_overlaps(name: str) -> None:
    found = diagram(load_file(EXAMPLES / f"{name}.attn").cascade)
    for box in found.boxes:
        assert box.x - box.width / 2 >= 0 and box.x + box.width / 2 <= found.width + 0.01
        for other in found.boxes:
            if other is not box and other.y == box.y:
                assert abs(box.x - other.x) >= (box.width + other.width) / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("-o", "/nowhere/page.html"), "there is no directory /nowhere"), (("-o", "/"), "is a directory"),
     (("-o", "page.html", "--device", "Z80"), "there is no device 'Z80'")],
)  # fmt: skip
def test_what_cannot_be_written(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(attn, ["report", str(EXAMPLES / "basic/dense.attn"), *arguments])
    assert result.exit_code == 1 and list(tmp_path.iterdir()) == []
    assert isinstance(result.exception, AttnError) and message in str(result.exception)


@pytest.mark.parametrize(
    "arguments", [("-p", "windo=3"), ("--size", "q=3"), ("--tiles", "3x5"), ("--size", "i=x")]
)
def test_wrong_usage(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert write(tmp_path / "page.html", EXAMPLES / "masks/sink_window.attn", *arguments).exit_code == 2
