"""Reductions in two parts: what is made of them, and that they keep their meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.printer import print_cascade
from attn_dsl.ir.validate import validated
from attn_dsl.language.load import load_text
from attn_dsl.planning.binding import means_as_sums
from attn_dsl.reference import evaluate
from attn_dsl.rewrites.part_reduction import part_reduction
from tests.rewrites.programs import programs
from tests.rewrites.texts import assert_rewritten, load

SIZES = {"i": 3, "p": 3, "q": 2, "e": 2}
DECLARATIONS = """
attention test
input A[i, p, q], B[i, p, q], V[p, q, e], r[i], s, length[i]: i32
"""


def parted(statements: str, output: str, tensors: tuple[str, ...], kept: tuple[str, ...]) -> Cascade:
    result = part_reduction(load(statements, output, DECLARATIONS), tensors, kept)
    assert result is not None
    return validated(result)


def arguments_of(cascade: Cascade, seed: int, infinite: bool) -> dict[str, Tensor]:
    """Small whole numbers, some of them -inf, a whole part among them."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for tensor in cascade.inputs:
        shape = [SIZES[d] for d in tensor.dims]
        found[tensor.name] = torch.randint(-3, 4, shape, generator=generator).double() / 2
    if infinite:
        found["A"][torch.rand(found["A"].shape, generator=generator) < 0.3] = -inf
        found["A"][0, 1] = found["B"][0, 1] = -inf
        found["A"][1] = -inf
    if "length" in found:
        found["length"] = torch.tensor([0, 4, 1], dtype=torch.int32)
    return found


def assert_same(before: Cascade, after: Cascade, arguments: Mapping[str, Tensor]) -> None:
    expected = evaluate(before, {}, arguments, SIZES)
    found = evaluate(after, {}, arguments, SIZES)
    for name, value in expected.items():
        told = f"{name} of\n{print_cascade(after)}"
        assert torch.allclose(found[name].double(), value.double(), rtol=1e-9, atol=1e-9, equal_nan=True), (
            told
        )


def test_a_sum() -> None:
    result = parted("O[i] += A[i,p,q] where q <= p", "O[i]", ("O",), ("p",))
    after = "O_part[p,i] += A[i,p,q] where q <= p\nO[i] += O_part[p,i]"
    assert_rewritten(result, after, "O[i]", DECLARATIONS)


def test_a_softmax() -> None:
    text = "m[i] max= A[i,p,q]\nw[i,p,q] = exp(A[i,p,q] - m[i]) where q <= p\nl[i] += w[i,p,q]\nO[i,e] += w[i,p,q] * V[p,q,e]"
    result = parted(text, "O[i, e]", ("m", "l", "O"), ("p",))
    # One copy of the weights, of which both sums are made; nothing but what combines reads the whole maximum.
    assert [s.target for s in result.statements] == [
        "m_part", "m", "w", "m_base", "w_part", "l_part", "l", "O_part", "O"
    ]  # fmt: skip


def test_what_belongs_to_no_part_is_counted_once() -> None:
    text = "m[i] max= A[i,p,q]\nm[i] max= r[i]\nl[i] += exp(A[i,p,q] - m[i])\nl[i] += exp(r[i] - m[i])"
    before = load(text, "l[i]", DECLARATIONS)
    after = parted(text, "l[i]", ("m", "l"), ("p", "q"))
    for seed in range(4):
        assert_same(before, after, arguments_of(before, seed, infinite=True))


@pytest.mark.parametrize("kept", [("p",), ("q",), ("p", "q"), ("q", "p")])
@pytest.mark.parametrize(
    "text",
    [
        "O[i] += A[i,p,q] * r[i]",
        "O[i] *= B[i,p,q]",
        "O[i] max= A[i,p,q] where q < p",
        "O[i] min= p - q where A[i,p,q] > 0",
        "O[i] any= A[i,p,q] > 1",
        "O[i] all= B[i,p,q] > -1 where q < p and i > 0",
        "O[i] += B[i,p,q] > 0",
        "O[i] += A[i,p,q] where i < 1",
        "O[i] += A[i,p,q] + B[i,p,q] where p < length[i]",
        "m[i] max= A[i,p,q]\nO[i] += exp(A[i,p,q] - m[i])",
        "m[i] max= A[i,p,q] where q < p\nO[i] += exp(A[i,p,q] - m[i]) where q < p and p < length[i]",
        "m[i] min= -A[i,p,q]\nO[i] max= exp(A[i,p,q] + m[i]) * abs(B[i,p,q])",
        "m[i] max= A[i,p,q]\nO[i] max= A[i,p,q] + B[i,p,q] - m[i]",
        "m[i] max= A[i,p,q]\nm[i] max= r[i]\nO[i] += exp(A[i,p,q] - m[i])\nO[i] += exp(r[i] - m[i])",
        "m[i] max= r[i]\nm[i] max= A[i,p,q] where q < p\nO[i] += exp(A[i,p,q] - m[i])",
        "m[i] max= A[i,p,q]\nn[i] = m[i] * 2\nw[i,p,q] = exp(2 * A[i,p,q] - n[i]) where q <= p\nO[i] += w[i,p,q]",
        "m[i] max= A[i,p,q]\nl[i] += exp(A[i,p,q] - m[i])\nO[i,e] += exp(A[i,p,q] - m[i]) / l[i] * V[p,q,e]",
        "m[i] max= A[i,p,q]\nO[i] += exp(B[i,p,q] + m[i])",  # no fold: the parts follow the whole maximum
        "m[i] += B[i,p,q]\nO[i] += (B[i,p,q] - m[i]) ** 2",
        "m[i] max= A[i,p,q]; m_part[i] = m[i] + 1; m_base[i] = m[i]; O[i] += m_part[i] * exp(A[i,p,q] - m_base[i])",
        "m[i] max= A[i,p,q]; m_part[i] = r[i]; m_base[i] = 2; O[i] += m_part[i] * exp(A[i,p,q] - m[i]) + m_base[i]",
        "m max= A[i,p,q]\nO += exp(A[i,p,q] - m)",
    ],
)  # fmt: skip
def test_the_meaning_is_kept(text: str, kept: tuple[str, ...]) -> None:
    output = "O" if "O +=" in text else "O[i, e]" if "e]" in text else "O[i]"
    before = load(text, output, DECLARATIONS)
    reduced = {s.target for s in before.statements if isinstance(s, Einsum) and s.over}
    after = parted(text, output, tuple(t for t in ("m", "l", "O") if t in reduced), kept)
    for seed in range(4):
        for infinite in (False, True):
            assert_same(before, after, arguments_of(before, seed, infinite=infinite))


def test_a_row_that_no_element_reaches_above_a_low_score() -> None:
    """A part of nothing but -inf has 0 to correct, by what would overflow."""
    text = "m[i] max= A[i,p,q]\nO[i] += exp(A[i,p,q] - m[i])"
    before = load(text, "O[i]", DECLARATIONS)
    arguments = arguments_of(before, 0, infinite=False)
    arguments["A"] = torch.full_like(arguments["A"], -5000.0)
    arguments["A"][:, 1] = -inf
    arguments["A"][2] = -inf
    after = parted(text, "O[i]", ("m", "O"), ("p",))
    assert_same(before, after, arguments)
    found = evaluate(after, {}, arguments, SIZES)["O"]
    assert found[:2].tolist() == [4.0, 4.0]
    assert bool(found[2].isnan())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("O[i] mean= A[i,p,q]", ("p",)),
        ("O[i] += A[i,p,q]", ()),
        ("O[i,p] += A[i,p,q]", ("p",)),
        ("O[i] += A[i,p,q]", ("e",)),
        ("O[i,p,q] = A[i,p,q]", ("p",)),
    ],
)
def test_what_has_no_parts(text: str, kept: tuple[str, ...]) -> None:
    output = text.split(" ")[0].replace(",", ", ")
    assert part_reduction(load(text, output, DECLARATIONS), ("O",), kept) is None


def test_an_end_that_depends_on_what_is_summed_is_no_end_of_a_part() -> None:
    cascade = load_text(
        "attention test\ninput A[i, p], length[i]: i32\nindex p < length[i]\nO += A[i,p]\noutput O\n"
    ).cascade
    assert part_reduction(cascade, ("O",), ("p",)) is None
    after = part_reduction(cascade, ("O",), ("i",))
    assert after is not None
    arguments = {"A": torch.ones(3, 3).double(), "length": torch.tensor([2, 0, 1])}
    assert_same(cascade, validated(after), arguments)


def _over_two(text: str) -> str:
    """A random program over keys as one over keys of two indices."""
    text = re.sub(r"\[i, ?j\]", "[i,p,q]", text).replace("[j, e]", "[p,q,e]").replace("[j,e]", "[p,q,e]")
    return re.sub(r"\bj\b", "(2 * p + q)", text.replace("[j]", "[p,q]"))


@settings(max_examples=150, deadline=None)
@given(programs(), st.sampled_from([("p",), ("q",), ("p", "q")]), st.booleans(), st.integers(0, 2**31))
def test_random_programs(text: str, kept: tuple[str, ...], infinite: bool, seed: int) -> None:
    before = means_as_sums(load_text(_over_two(text)).cascade)
    reduced = dict.fromkeys(
        s.target for s in before.statements if isinstance(s, Einsum) and {"p", "q"} <= {*s.over}
    )
    if not reduced:
        return
    after = part_reduction(before, tuple(reduced), kept)
    assert after is not None
    assert_same(before, validated(after), arguments_of(before, seed, infinite=infinite))
