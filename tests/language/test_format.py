"""The formatter: one layout for one sequence of tokens, comments and meaning kept."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_dsl.errors import LanguageError
from attn_dsl.language.format import format_text
from attn_dsl.language.load import load_file, load_text

EXAMPLES = sorted(Path(__file__).parents[2].glob("examples/**/*.attn"))

UNTIDY = """

#  two   streams
attention  a ; param p:int=-3
input   Q[b,h=(g  r),i,d]   ,K[b,j, d] :bf16,tau, L[b,_ ]:i32#list
mask  near=i-j<p
mask far  =  not(near)


def f[ u,v ]( x ,y){m  max=x;;w=exp( x-detach(m) ) ;
l+=w  # kept
  # kept too

far max= w*-1
return w/l;}
def g()=1;
S[ b,h,i ,j ]+=(Q[b,h,i,d]   *
- K[b, j,d] # why
 )where not(i==j )and i in L[b,:]
means[b]mean=S[b,h,i,j+1]**-2
x=-1- +2 if p>0 else max(1 ,2)
output   S[b,(g r),i,j],x:f32
"""

TIDY = """#  two   streams
attention a; param p: int = -3
input Q[b, h=(g r), i, d], K[b, j, d]: bf16, tau, L[b, _]: i32  #list
mask near = i - j < p
mask far  = not (near)

def f[u,v](x, y) { m max= x; w = exp(x - detach(m))
    l += w  # kept
    # kept too

    far max= w * -1
    return w / l }
def g() = 1
S[b,h,i,j] += (Q[b,h,i,d] *
    -K[b,j,d]  # why
)  where not (i == j) and i in L[b,:]
means[b] mean= S[b, h, i, j + 1] ** -2
x            = -1 - +2 if p > 0 else max(1, 2)
output S[b, (g r), i, j], x: f32
"""


def test_the_canonical_layout() -> None:
    assert format_text(UNTIDY) == TIDY
    assert format_text(TIDY) == TIDY


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_line_ends_and_the_byte_order_mark_become_plain(newline: str) -> None:
    assert format_text("\ufeff" + UNTIDY.replace("\n", newline)) == TIDY


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_keep_their_meaning_and_comments(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    formatted = format_text(text, str(path))
    assert format_text(formatted) == formatted
    assert load_text(formatted, str(path)).cascade == load_file(path).cascade
    assert _comments(formatted) == _comments(text)


def _comments(text: str) -> list[str]:
    return re.findall(r"#.*?(?=\s*$)", text, re.MULTILINE)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(EXAMPLES), st.integers(0, 2**32))
def test_spaces_do_not_matter(path: Path, seed: int) -> None:
    text = path.read_text(encoding="utf-8")
    assert format_text(_respaced(text, random.Random(seed))) == format_text(text)


def _respaced(text: str, chance: random.Random) -> str:
    """The text with other spaces wherever the language lets them be; comments as they are."""

    def space(match: re.Match[str]) -> str:
        return match.group().strip(" ") + " " * chance.randint(0 if match.group().strip(" ") else 1, 3)

    rows = text.split("\n")
    return "\n".join(row if "#" in row else re.sub(r" +|[\[\](),{}] *", space, row) for row in rows)


def test_semicolons_that_part_nothing_go() -> None:
    assert format_text(";; attention a;;\n;input x;  ; output x;") == "attention a\ninput x; output x\n"


def test_a_far_longer_left_side_is_not_aligned_to() -> None:
    text = "X[i] = 1\nD[b, h, i - j + size(j) - 1] += 2\nE[b, h, i - j + size(j) - 1] = 2\n"
    assert format_text(text) == (
        "X[i] = 1\nD[b, h, i - j + size(j) - 1] += 2\nE[b, h, i - j + size(j) - 1]  = 2\n"
    )


def test_a_text_that_does_not_parse_is_refused_with_its_place() -> None:
    with pytest.raises(LanguageError, match=r"bad.attn:2:8"):
        format_text("attention a\nX[i] = = 2\n", "bad.attn")
