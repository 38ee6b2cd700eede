"""What Triton compiles for a GPU, read off its PTX: NaN wins in one instruction, remainders are exact, bounds
have the bits that they need. No GPU is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from attn_dsl.cli.lowering import example_program
from attn_dsl.language.load import load_text
from attn_dsl.runtime.ahead_of_time import assembly
from attn_dsl.runtime.cache import Entry
from tests.numbers.evaluators import pointwise

ARCHITECTURE = "cuda:90"
SOFTMAX = """attention softened
input Q[i,d], K[j,d], V[j,e]
S[i,j] += Q[i,d] * K[j,d]
X[i,j]  = S[i,j] where j <= i
P[i,j]  = softmax[j](X[i,j])
O[i,e] += P[i,j] * V[j,e]
output O[i,e]
"""


def ptx(text: str, folder: Path) -> str:
    program = example_program(load_text(text).cascade, dtype="f32", architecture=ARCHITECTURE)
    source = folder / "kernels.py"
    source.write_text(program.source)
    return "\n".join(assembly(Entry(program, source), ARCHITECTURE))


def test_nan_wins_in_one_instruction(tmp_path: Path) -> None:
    text = ptx(SOFTMAX, tmp_path)
    found = re.findall(r"\bmax[.\w]*f32\b", text)
    assert found and set(found) == {"max.NaN.f32"}
    # A propagating maximum that was selected by hand would test its operands for NaN.
    assert not re.search(r"setp\.nan\.f32", text)


@pytest.mark.parametrize(
    "expression", ["max({a}, {b})", "min({a}, {b})", "clamp({a}, {b}, 1.0)", "relu({a})"]
)
def test_nan_wins_pointwise(expression: str, tmp_path: Path) -> None:
    text = ptx(pointwise({"Y": expression}, ["f32", "f32"], "f32"), tmp_path)
    found = re.findall(r"\b(?:max|min)[.\w]*f32\b", text)
    assert found and all(".NaN." in name for name in found)


def test_the_remainder_is_no_difference_of_a_product(tmp_path: Path) -> None:
    """`a % b` of Triton itself becomes a - trunc(a / b) * b: one fma after a division, without a loop."""
    text = ptx(pointwise({"Y": "{a} % {b}"}, ["f32", "f32"], "f32"), tmp_path)
    assert re.search(r"@%p\d+\s+bra", text)  # libdevice's loop over the bits of the quotient


@pytest.mark.parametrize(
    ("predicate", "wide"), [("0 <= i - j", False), ("i - j < 256", False), ("j < L[i]", True)]
)
def test_only_bounds_that_need_64_bits_have_them(predicate: str, wide: bool) -> None:
    inputs = "input Q[i,d], K[j,d], V[j,e]" + (", L[i]: i32" if wide else "")
    text = SOFTMAX.replace("j <= i", predicate).replace("input Q[i,d], K[j,d], V[j,e]", inputs)
    source = example_program(load_text(text).cascade, architecture=ARCHITECTURE).source
    loops = source[source.index("for n in range") :]
    masks = [line for line in loops.splitlines() if "<" in line and "offset" not in line]
    assert masks and not any("int64" in line for line in masks)
    assert ("L_tile.to(tl.int64)" in source or "l_tile.to(tl.int64)" in source) == wide
