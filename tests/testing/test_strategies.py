"""Generated arguments: they fit their cascade, whatever it declares."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attn_dsl.language.load import load_file, load_text
from attn_dsl.runtime.params import resolve_params
from attn_dsl.runtime.sizes import bind
from attn_dsl.testing import examples
from attn_dsl.testing.choices import Choices, spread
from attn_dsl.testing.layouts import Layout, laid_out, negated
from attn_dsl.testing.rounding import bounded_results
from attn_dsl.testing.sizes import Role, roles
from attn_dsl.testing.strategies import Limits, make_example
from attn_dsl.testing.usage import IntegerRange, integer_range
from tests.testing.kernels import CAUSAL

FILES = sorted((Path(__file__).parents[2] / "examples").glob("*/*.attn"))
SMALL = Limits(longest=17, widest=17, work=1 << 16)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_arguments_fit_every_example_file(path: Path) -> None:
    cascade = load_file(path).cascade
    params = resolve_params(cascade, {})
    for k in range(3):
        arguments = make_example(cascade, params, spread(0, k), SMALL).arguments
        sizes = bind(cascade, params, (), arguments).sizes
        results = bounded_results(cascade, params, arguments, sizes)
        assert [r for r in results] == [o.name for o in cascade.outputs]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_as_a_hypothesis_strategy(data: st.DataObject) -> None:
    cascade = load_text(CAUSAL).cascade
    example = data.draw(examples(cascade, {}, SMALL))
    sizes = bind(cascade, {}, (), example.arguments).sizes
    assert sizes == example.sizes
    assert f"i={sizes['i']}" in str(example)


@given(st.data(), st.lists(st.integers(0, 5), max_size=4))
def test_layouts_have_the_shape_and_are_what_they_are_called(data: st.DataObject, shape: list[int]) -> None:
    choices = Choices(lambda n: data.draw(st.integers(0, n - 1)))
    tensor, layout = laid_out(shape, lambda s: torch.rand(tuple(s)), choices)
    assert list(tensor.shape) == shape
    if layout is Layout.REPEATED and tensor.numel():
        assert 0 in tensor.stride() or 1 in shape
    if layout is Layout.STEPPED and min(shape) > 1:
        assert tensor.stride(-1) == 2
    if layout is Layout.CONTIGUOUS:
        assert tensor.is_contiguous()
    assert tensor.is_neg() == (layout is Layout.NEGATED)
    if layout is Layout.OFFSET:
        assert tensor.storage_offset() == 1
    if layout is Layout.OVERLAPPING and tensor.numel():
        assert tensor.untyped_storage().nbytes() == 4 * (sum(shape) - len(shape) + 1)


def test_a_negated_view_has_the_same_numbers() -> None:
    x = torch.randn(3, 4)
    assert negated(x).is_neg()
    assert torch.equal(negated(x), x)


INTEGERS = """attention integers
param steps: int = 4
input Q[b, i, d], K[n, s, d], page[b, p]: i32, length[b]: i32, doc[b, i]: i32, codes[b, i]: i32, seed: i64
input list[b, m]: i32, scale[b, i]: i8, bits[b, i]: u8
index j < size(p) * size(s)
S[b,i,j] += Q[b,i,d] * K[page[b, j // size(s)], j % size(s), d]
X[b,i,j]  = S[b,i,j]  where j < length[b] and doc[b,i] != doc[b,0] and (codes[b,i] >> 2) & 1 == 1 and i in list[b,:]
Y[b,i,j]  = X[b,i,j] * (uniform(seed, b, i, j) > 0.5) * scale[b,i] * (bits[b,i] == 3)
output Y[b, i, j]
"""


def test_integers_are_good_for_what_they_are_used_for() -> None:
    cascade = load_text(INTEGERS).cascade
    sizes = {"b": 2, "i": 9, "d": 4, "n": 6, "s": 4, "p": 3, "m": 5, "j": 12}
    ranges = {i.name: integer_range(i, cascade, sizes) for i in cascade.inputs if i.dtype is not None}
    assert ranges["page"] == IntegerRange(0, 5, bounded=True)
    assert ranges["length"] == IntegerRange(0, 12, bounded=True)
    assert ranges["list"] == IntegerRange(0, 8, bounded=True)
    assert ranges["doc"] == IntegerRange(0, 3)
    assert ranges["bits"] == IntegerRange(0, 3)
    assert ranges["codes"].high == 2**31 - 1
    assert ranges["seed"].high > 2**32
    assert ranges["scale"] == IntegerRange(-128, 127)


def test_roles_follow_the_place_in_the_widest_input() -> None:
    text = "attention t\ninput Q[b, (x y), d], T[n], w[x]\nindex y < 4\n"
    text += "O[b,x,y,d] = Q[b,x,y,d] * T[x + y] * w[x]\noutput O[b, x, y, d]"
    found = roles(load_text(text).cascade)
    assert found == {"b": Role.BATCH, "x": Role.MEMBER, "d": Role.FEATURE, "n": Role.TABLE}


def test_work_is_bounded() -> None:
    cascade = load_text(CAUSAL).cascade
    for k in range(20):
        sizes = make_example(cascade, {}, spread(0, k), Limits(work=5000)).sizes
        assert sizes["b"] * sizes["h"] * sizes["i"] * sizes["j"] * max(sizes["d"], sizes["e"]) <= 5000
