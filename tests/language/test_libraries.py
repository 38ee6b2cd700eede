"""Libraries: the prelude, and what a file imports."""

from __future__ import annotations

from pathlib import Path

import pytest

import attn_dsl.language.load as load_module
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


def chain_of_libraries(folder: Path, length: int, times: int) -> None:
    """Each file imports the next, several times over."""
    for at in range(length):
        following = f'import "lib{at + 1}.attn"\n' * times if at + 1 < length else ""
        (folder / f"lib{at}.attn").write_text(f"{following}def f{at}(x) = x + {at}\n")


def test_a_file_is_read_once_however_often_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain_of_libraries(tmp_path, 25, 2)
    read: list[str] = []
    plain = load_module.read_source
    monkeypatch.setattr(load_module, "read_source", lambda path: read.append(path.name) or plain(path))
    text = 'attention a\nimport "lib0.attn"\ninput x[i]\nA[i] = f24(f0(x[i]))\noutput A[i]\n'
    (tmp_path / "a.attn").write_text(text)
    load_file(tmp_path / "a.attn")
    assert len(read) == 26


def test_imports_have_a_bound(tmp_path: Path) -> None:
    chain_of_libraries(tmp_path, 1500, 1)
    messages = load(tmp_path, 'import "lib0.attn"\n')
    assert "files import one another more than 30 deep" in messages
    for at in range(300):
        (tmp_path / f"flat{at}.attn").write_text("def g(x) = x\n")
    many = "".join(f'import "flat{at}.attn"\n' for at in range(300))
    assert "more than 200 files are imported" in load(tmp_path, many)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/dev/zero", "is no plain file"),
        ("/dev/stdin", "is no plain file"),
        ("x" * 5000, "file name too long"),
        ("x/" * 3000, "file name too long"),
        ("loop.attn", "too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_is_not_read(
    tmp_path: Path, path: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loop.attn").symlink_to(tmp_path / "loop.attn")
    found = load(tmp_path, f'import "{path}"\n')
    assert any(message in line for line in found), found


def test_of_a_device_no_more_is_read_than_a_text_has() -> None:
    with pytest.raises(LanguageError, match="more than 1000000 bytes"):
        load_file("/dev/zero")
