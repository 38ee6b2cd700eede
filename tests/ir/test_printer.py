"""Printing and reading again gives the same cascade: files, hand-written corners, random statements."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_dsl.ir.cascade import Cascade, Einsum, Reduction, Statement
from attn_dsl.ir.expr import Const, Expr, IndexVar, Op
from attn_dsl.ir.printer import cascade_key, print_cascade, print_expr, print_statement
from attn_dsl.ir.walk import index_names
from attn_dsl.language.load import load_file, load_text
from tests.ir.expressions import DECLARATIONS, predicates, reals

EXAMPLES = sorted(Path(__file__).parents[2].glob("examples/**/*.attn"))

CORNERS = """attention corners
param p: int = 3
param q: float = -1e-30
param z: bool
index r < 8; index c < (size(j) + p - 1) // p
input len[b]: i32
let n = 2 * p + size(b)
input T[n, 3, p, _], Q[b, h=(g r), i, d], K[b, j, d]: bf16, tau, slope[h]
index j < len[b] + 1
index o < size(i)
mask m = not (i == j and 0 <= i - j < p) or j in T[0,0,:,1]
S[b,h,i,j] += Q[b,h,i,d] * K[b,j,d] * (tau + T[1,2,3,4]) * slope[h] + h where m and (z or j < i < c)
s[b,h,i] max= S[b,h,i,j]
s[b,h,i] max= default(q, inf)
top[b,h,i,j] = topk[j](S[b,h,i,j], p) where i >= j
best[b,h,i] = argmax[j](S[b,h,i,j])
D[o,b] += s[b,h,i] * best[b,h,i] where top[b,h,i,0]
F[i // 2,b] += s[b,h,i]
W[b,h,i,j] = softmax[j](S[b,h,i,j])
output D[o, b], best[b, h, i], top[b, (g r), i, j], F[o, b]: f32, W[b, k=(g r), i, j]
"""


def again(cascade: Cascade) -> Cascade:
    return load_text(print_cascade(cascade)).cascade


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_survives_printing(path: Path) -> None:
    cascade = load_file(path).cascade
    assert again(cascade) == cascade


def test_every_kind_of_declaration_survives_printing() -> None:
    cascade = load_text(CORNERS).cascade
    assert again(cascade) == cascade
    assert print_cascade(again(cascade)) == print_cascade(cascade)


def _statement(body: Expr, where: Expr | None, reduce: Reduction) -> Statement:
    free = dict.fromkeys((*index_names(body), *index_names(where)))
    over = tuple(name for name in free if name not in ("b", "i"))
    return Einsum("O", ("b", "i"), (IndexVar("b"), IndexVar("i")), reduce, over, body, where)


@settings(max_examples=150, deadline=None)
@given(reals, st.none() | predicates, st.sampled_from(Reduction))
def test_random_statements_survive_printing(body: Expr, where: Expr | None, reduce: Reduction) -> None:
    base = load_text(DECLARATIONS + "O[b,i] += 0\noutput O[b, i]\n").cascade
    logical = reduce in (Reduction.ANY, Reduction.ALL)
    statement = _statement(where or Const(True) if logical else body, where, reduce)
    cascade = replace(base, statements=(statement,))
    assert again(cascade) == cascade


@pytest.mark.parametrize(
    "text",
    [
        "i - (j - b)",
        "(i - j) * -b",
        "-i ** -b",
        "(-i) ** b",
        "(i ** j) ** b",
        "i ** j ** b",
        "(i | j) & b ^ d << 1 + 2",
        "1 if p and not i == j else 2 if p else 3",
        "(1 if p else 2) + 1",
        "(1 if p else 2) if (p if p else p) else 3",
        "not (i < j or p) and p",
        "i + 1 in page[b // 2, :]",
        "K[b, (i + j) % 3, 0]",
        "default(uniform(1, i, j), -inf)",
    ],
)
def test_brackets_stand_only_where_they_are_needed(text: str) -> None:
    line = f"O[b,i] += {text}"
    cascade = load_text(f"{DECLARATIONS}{line}\noutput O[b, i]\n").cascade
    assert print_statement(cascade.statements[0]) == line


def test_constants_keep_their_type() -> None:
    assert [print_expr(Const(v)) for v in (1, 1.0, True, float("inf"))] == ["1", "1.0", "true", "inf"]
    assert print_expr(Op("pow", (Const(-1), Const(2)))) == "(-1) ** 2"


def test_the_key_is_the_same_in_another_process_and_another_for_another_meaning() -> None:
    program = (
        "from attn_dsl.language.load import load_text; from attn_dsl.ir.printer import cascade_key;"
        f"print(cascade_key(load_text({CORNERS!r}).cascade))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    cascade = load_text(CORNERS).cascade
    assert other.stdout.strip() == cascade_key(cascade)
    assert cascade_key(replace(cascade, name="different")) != cascade_key(cascade)
