"""Every bad file of tests/golden/errors is refused with the text beside it: place, message, help."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from attn_dsl.errors import LanguageError
from attn_dsl.language.load import load_file

FOLDER = Path(__file__).parents[1] / "golden" / "errors"
BAD_FILES = sorted(FOLDER.glob("*.attn"))


def message(path: Path) -> str:
    with pytest.raises(LanguageError) as refusal:
        load_file(path)
    return str(refusal.value) + "\n"


@pytest.mark.parametrize("path", BAD_FILES, ids=lambda path: path.stem)
def test_the_message(
    path: Path, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FOLDER)
    golden(path.with_suffix(".txt"), message(Path(path.name)))


@pytest.mark.parametrize("path", BAD_FILES, ids=lambda path: path.stem)
def test_every_error_has_a_place_and_a_way_to_mend_it(path: Path) -> None:
    shown = message(path)
    errors = len(re.findall(r"^error: ", shown, re.MULTILINE))
    assert len(re.findall(r" = help: \S", shown)) == errors
    if path.stem != "not_utf8":  # a text that cannot be read has no place in it
        assert len(re.findall(r"--> .*:\d+:\d+$", shown, re.MULTILINE)) == errors


def test_no_expected_text_is_left_without_its_file() -> None:
    assert {p.stem for p in FOLDER.glob("*.txt")} == {p.stem for p in BAD_FILES}
