"""What is illegal, and how it is said: all independent errors at once, each in the language's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn_dsl.errors import LanguageError
from attn_dsl.language.load import load_file, load_text
from tests.language.loading import HEAD, RESULT, SCORES, refused


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("A[b,h,i,j] = Q[b,h,i,d] * K[b,h,j,d]", "index 'd' stands only on the right of '='"),
        ("A[b,i] = B[b]\nB[b] += w", "'B' is used before it is defined"),
        ("A[i] = w\nA[i] = c", "'A' is defined twice, first on line 5"),
        ("A[i] += w\nA[i] max= c", "'A' is reduced with '+=' on line 5 and with 'max=' here"),
        ("A[i] += w\nA[j] += w", "'A' has the indices [i] on line 5"),
        ("A[i,i] = w", "an index stands twice in 'A'"),
        ("Q[b,h,i,d] = w", "'Q' is an input and cannot be defined"),
        ("A[i - j] += w", "'A' has a computed position, and its size is not declared"),
        ("A[i] = i + topk[i](i, 2)", "'topk' must be the whole right-hand side of '='"),
        ("A[i] = topk[i](i)", "'topk' is written topk[c](x, k)"),
        ("A[i] += topk[i](i, 2)", "'topk' is assigned with '='"),
        ("A[b] = softmax[q](w)", "'q' is not an index"),
        ("A[b] = softmax(w)", "'softmax' needs the index it reduces"),
        ("A[b] = softmax[i](w, w)", "'softmax' takes 1 argument, 2 given"),
        ("def f(x) = g(x)\ndef g(x) = f(x)\nA[i] = f(i)", "'f' calls itself"),
        ("def f[j](x) { return f[j](x) }\nA[i] = f[i](w)", "'f' calls itself"),
        ("def f[j](x) { m max= x }\nA[i] = f[j](i)", "'f' returns nothing"),
        ("let x = x + 1\nA[i] = x", "'x' is defined by itself"),
        ("index I < 4", "an index is lower case, 'I' is not"),
        ("param w: int", "'w' is declared twice, first on line 2"),
        ("param p: text", "a param is int, float or bool, not 'text'"),
        ("param p: int = 2.5", "the default of 'p' is not of type int"),
        ("def max(x) = x", "'max' is a word of the language"),
        ("input T[b]: f12", "there is no dtype 'f12'"),
        ("input T[b,b]", "an index stands twice in 'T'"),
        ("output O2[b]", "output 'O2' is never defined"),
        ("A[b] += w\noutput A[h]", "output 'A' has the indices [b]"),
        ("attention other", "a file declares one attention"),
    ],
)
def test_meaning(written: str, message: str) -> None:
    assert message in refused(written)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("A[i] = ", "the statement ends too early"),
        ("A[i] == i", "'==' cannot stand here"),
        ("A[i] = i $ 2", "'$' is not a character of the language"),
        ("A[i] = (i", "'(' is never closed"),
        ("A[i] = i)", "')' closes nothing"),
        ("A[i] = i\0", "'\\x00' is not a character of the language"),
        ("A[i] = " + "x" * 65, "a name has at most 64 characters"),
        ("A[i] = " + "9" * 100, "the number has 100 digits; at most 18 are read"),
        ("nonsense", "the statement ends too early"),
    ],
)
def test_form(written: str, message: str) -> None:
    assert refused(written + "\n", result="input T[b]\nA2[b] = T[b]\noutput A2[b]") == [message]


@pytest.mark.parametrize(
    "deep",
    [
        "(" * 10_000 + "1" + ")" * 10_000,
        "-" * 10_000 + "1",
        "1 + " * 10_000 + "1",
        "2 ** " * 1_000 + "2",
        "1 if i < w else " * 1_000 + "1",
        "abs(" * 1_000 + "1" + ")" * 1_000,
        "not " * 1_000 + "(i < w)",
        "i < w and " * 1_000 + "i < w",
        "i" + " < i" * 1_000,
    ],
)
def test_what_is_too_deep_is_refused(deep: str) -> None:
    assert len(refused(f"A[i] = {deep}")) == 1


@pytest.mark.parametrize(
    "deep", ["(" * 50 + "1" + ")" * 50, "-" * 60 + "1", "1 + " * 60 + "1", "abs(" * 50 + "1" + ")" * 50]
)
def test_what_is_deep_loads(deep: str) -> None:
    load_text(HEAD + f"A[i] = {deep}" + RESULT)


def test_all_independent_errors_at_once() -> None:
    messages = refused("A[i] = \nB[i] = i and w\nC[i = 3\nmask near = 1\nD[i] = softmx[i](w)")
    assert len(messages) == 5


def test_one_mistake_is_reported_once() -> None:
    assert refused("A[i] = frob(i)\nB[i] = A[i] + 1\nC[i] += A[j] * B[i]") == ["there is no function 'frob'"]


def test_did_you_mean() -> None:
    with pytest.raises(LanguageError) as caught:
        load_text(HEAD + SCORES + "P[b,h,i,j] = sofmax[j](S[b,h,i,j])" + RESULT)
    assert [d.help for d in caught.value.diagnostics] == ["did you mean 'softmax'?"]


def test_the_span_is_underlined() -> None:
    with pytest.raises(LanguageError) as caught:
        load_text(HEAD + "A[b,h,i,j] = Q[b,h,i,d] * K[b,h,j,d]" + RESULT, "bad.attn")
    text = str(caught.value)
    assert "--> bad.attn:5:22" in text
    assert "5 | A[b,h,i,j] = Q[b,h,i,d] * K[b,h,j,d]\n  |                      ^\n" in text


def test_no_output() -> None:
    assert refused("attention a\ninput T[b]", head="", result="") == ["the attention has no output"]


def test_no_attention() -> None:
    text = "input T[b]\noutput A[b]\nA[b] = T[b]"
    assert refused(text, head="", result="") == ["the file declares no attention"]


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "bad.attn"
    path.write_bytes(b"attention a\n\xff\xfe")
    with pytest.raises(LanguageError, match=r"is not UTF-8 text \(line 2\)"):
        load_file(path)
    with pytest.raises(LanguageError, match="no such file"):
        load_file(tmp_path / "none.attn")
    with pytest.raises(LanguageError, match="is a directory"):
        load_file(tmp_path)
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(LanguageError, match="more than 1000000 bytes"):
        load_file(path)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_byte_order_mark_line_ends_and_tabs(newline: str, tmp_path: Path) -> None:
    path = tmp_path / "a.attn"
    text = ("\ufeff" + HEAD + "\tA[i]\t=\ti" + RESULT).replace("\n", newline)
    path.write_bytes(text.encode())
    assert load_file(path).cascade == load_text(HEAD + "A[i] = i" + RESULT).cascade


@pytest.mark.parametrize("name", ["\x1b[31mred\x1b[0m.attn", "bell\a.attn", "\x9b2J.attn", "back\b\b.attn"])
def test_what_an_import_names_cannot_steer_the_terminal(name: str, tmp_path: Path) -> None:
    file = tmp_path / "a.attn"
    file.write_text(f'attention a\nimport "{name}"\ninput Q[i]\noutput Q[i]\n', encoding="utf-8")
    with pytest.raises(LanguageError) as caught:
        load_file(file)
    assert all(c.isprintable() or c == "\n" for c in str(caught.value))
    (tmp_path / name).write_text("let let\n", encoding="utf-8")
    with pytest.raises(LanguageError) as caught:
        load_file(file)
    assert all(c.isprintable() or c == "\n" for c in str(caught.value))
