"""Libraries: the prelude, and what a file imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn_dsl.errors import LanguageError
from attn_dsl.language.load import load_file
from tests.language.loading import SCORES, cascade, statements

FILE = 'attention a\nimport "lib.attn"\ninput x[i]\nA[i] = twice(x[i])\noutput A[i]\n'


def load(folder: Path, library: str, text: str = FILE) -> list[str]:
    """The messages for a file beside its library; none where it loads."""
    (folder / "lib.attn").write_text(library)
    (folder / "a.attn").write_text(text)
    try:
        load_file(folder / "a.attn")
    except LanguageError as error:
        return [d.message for d in error.diagnostics]
    return []


@pytest.mark.parametrize("call", ["softmax", "softmax1", "softmin", "l1_normalise"])
def test_normalisers(call: str) -> None:
    made = cascade(SCORES + f"P[b,h,i,j] = {call}[j](S[b,h,i,j])")
    assert made.definitions("P_l")


@pytest.mark.parametrize(
    "predicate",
    [
        "causal(i, j)",
        "causal_at_end(i, j)",
        "sliding_window(i, j, w)",
        "dilated(i, j, w, 2)",
        "strided(i, j, 2)",
        "prefix(j, w)",
        "same_document(list[b,i], list[b,j])",
        "global_tokens(i, j, w)",
        "neighbourhood(i, j, w)",
        "neighbourhood_dilated(i, j, w, 2)",
        "neighbourhood_strided(i, j, w, 2)",
        "neighbourhood_causal(i, j, w)",
        "generalised_neighbourhood(i, j, w, 2, 2)",
    ],
)
def test_predicates(predicate: str) -> None:
    assert " where " in statements(SCORES + f"X[b,h,i,j] = S[b,h,i,j] where {predicate}")[-1]


def test_a_file_may_define_a_name_of_the_prelude() -> None:
    assert statements("def causal(i, j) = j < i\nA[i] += 1 where causal(i, j)") == ["A[i] += 1  where j < i"]


def test_an_import_brings_definitions(tmp_path: Path) -> None:
    assert load(tmp_path, "def twice(x) = 2 * x") == []


def test_libraries_import_libraries(tmp_path: Path) -> None:
    (tmp_path / "deeper.attn").write_text("def double(x) = 2 * x")
    assert load(tmp_path, 'import "deeper.attn"\ndef twice(x) = double(x)') == []


@pytest.mark.parametrize(
    ("library", "part"),
    [
        ('import "lib.attn"', "imports itself"),
        ("attention b", "is an attention, not a library"),
        ("def twice(x = 2", "is never closed"),
    ],
)
def test_bad_libraries(library: str, part: str, tmp_path: Path) -> None:
    assert any(part in message for message in load(tmp_path, library))


def test_a_missing_library(tmp_path: Path) -> None:
    assert any("no such file" in m for m in load(tmp_path, "", FILE.replace("lib.attn", "none.attn")))
