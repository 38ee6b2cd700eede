"""Operators by their definition in the language: integers as in Python, reals as in mathematics."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from attn_dsl.reference.philox import philox
from tests.reference.meaning import meaning, normal

SMALL = st.integers(-40, 40)


def of_integers(body: str, a: int, b: int) -> torch.Tensor:
    text = f"input a: i32, b: i32\nY = {body}\noutput Y"
    return meaning(text, {"a": torch.tensor(a), "b": torch.tensor(b)})["Y"]


@given(a=SMALL, b=SMALL.filter(bool))
def test_division_rounds_down_as_in_python(a: int, b: int) -> None:
    assert of_integers("a // b", a, b).item() == a // b
    assert of_integers("a % b", a, b).item() == a % b
    assert of_integers("a / b", a, b).item() == a / b


@given(a=SMALL, b=st.integers(0, 20))
def test_bits_as_in_python(a: int, b: int) -> None:
    expected = {"a >> b": a >> b, "a << b": a << b, "a & b": a & b, "a | b": a | b, "a ^ b": a ^ b}
    for body, value in expected.items():
        assert of_integers(body, a, b).item() == value


@given(a=st.floats(-50, 50), b=st.floats(-50, 50).filter(lambda b: abs(b) > 1e-3))
def test_real_division_rounds_down_as_in_python(a: float, b: float) -> None:
    text = "input a, b\nY = a // b\nZ = a % b\noutput Y, Z"
    got = meaning(
        text, {"a": torch.tensor(a, dtype=torch.float64), "b": torch.tensor(b, dtype=torch.float64)}
    )
    assert got["Y"].item() == a // b
    assert math.isclose(got["Z"].item(), a % b, abs_tol=1e-12)


def test_truth_values_count_in_arithmetic() -> None:
    text = "input x[i]\nY[i] = (x[i] > 0) + (x[i] > 1) * 2\nZ[i] = -(x[i] > 0) / 2\noutput Y[i], Z[i]"
    got = meaning(text, {"x": torch.tensor([-1.0, 0.5, 2.0])})
    assert got["Y"].dtype == torch.int64
    assert got["Y"].tolist() == [0, 1, 3]
    assert got["Z"].tolist() == [0, -0.5, -0.5]


@pytest.mark.parametrize(
    ("body", "by_hand"),
    [
        ("softplus(x[i])", lambda x: math.log1p(math.exp(x)) if x < 30 else x + math.exp(-x)),
        ("silu(x[i])", lambda x: x / (1 + math.exp(-x))),
        ("gelu(x[i])", lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2)))),
        ("sigmoid(x[i])", lambda x: 1 / (1 + math.exp(-x))),
        ("rsqrt(abs(x[i]))", lambda x: abs(x) ** -0.5),
        ("exp2(x[i]) + expm1(x[i])", lambda x: 2**x + math.expm1(x)),
        ("log2(abs(x[i])) + log1p(abs(x[i]))", lambda x: math.log2(abs(x)) + math.log1p(abs(x))),
        ("tan(x[i]) + sin(x[i]) * cos(x[i])", lambda x: math.tan(x) + math.sin(x) * math.cos(x)),
        ("tanh(x[i]) + erf(x[i])", lambda x: math.tanh(x) + math.erf(x)),
        ("clamp(x[i], -1, 1)", lambda x: max(-1, min(1, x))),
        ("relu(x[i]) + floor(x[i])", lambda x: max(0, x) + math.floor(x)),
        ("min(x[i], 1, -x[i]) + max(x[i], 2, -x[i])", lambda x: min(x, 1, -x) + max(x, 2, -x)),
        ("abs(x[i]) ** 1.5 + x[i] ** 3", lambda x: abs(x) ** 1.5 + x**3),
        ("sqrt(abs(x[i])) * exp(-x[i])", lambda x: math.sqrt(abs(x)) * math.exp(-x)),
        ("f16(x[i])", lambda x: torch.tensor(x).half().item()),
        ("i32(x[i]) + bool(x[i])", lambda x: int(x) + bool(x)),
    ],
)
def test_functions(body: str, by_hand) -> None:
    x = torch.tensor([-2.75, -0.3, 0.1, 1.0, 25.5]).double()
    expected = torch.tensor([by_hand(value) for value in x.tolist()], dtype=torch.float64)
    assert_close(meaning(f"input x[i]\nY[i] = {body}\noutput Y[i]", {"x": x})["Y"].double(), expected)


def test_softplus_is_exact_where_it_is_almost_the_identity() -> None:
    x = torch.tensor([21.0, -30.0, torch.inf, -torch.inf]).double()
    got = meaning("input x[i]\nY[i] = softplus(x[i])\nZ[i] = Y[i] - x[i]\noutput Y[i], Z[i]", {"x": x})
    assert_close(got["Z"][0].item(), math.exp(-21), rtol=1e-5, atol=0)
    assert_close(got["Y"][1:].tolist(), [math.exp(-30), math.inf, 0.0])


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_known_answers(counter: tuple[int, ...], key: tuple[int, ...], words: str) -> None:
    """The vectors that come with the authors' own implementation, Random123."""
    c0, c1, c2, c3, k0, k1 = (torch.tensor(word) for word in (*counter, *key))
    got = philox((c0, c1, c2, c3), (k0, k1))
    assert " ".join(f"{word.item():08x}" for word in got) == words


def test_uniform_depends_on_seed_and_every_coordinate() -> None:
    text = """
        input seed: i64
        index i < 64
        index j < 64
        U[i,j] = uniform(seed, 0, 0, i, j)
        output U[i,j]"""
    first, second = (meaning(text, {"seed": torch.tensor(s)}, i=64, j=64)["U"] for s in (7, 7 + (1 << 32)))
    assert first.min() >= 0 and first.max() < 1
    assert abs(first.mean().item() - 0.5) < 0.03
    assert first.unique().numel() > 4090
    assert (first != second).float().mean() > 0.99
    assert_close(first * 2**24, (first * 2**24).round(), rtol=0, atol=0)


def test_topk_prefers_the_lower_index_among_existing_elements() -> None:
    text = """
        input x[i, c], keep[i, c]: bool, k[i]: i32
        Y[i,c] = x[i,c]  where keep[i,c]
        T[i,c] = topk[c](Y[i,c], k[i])
        A[i]   = argmax[c](Y[i,c])
        R[i,c] = argsort[c](Y[i,c])
        output T[i,c], A[i], R[i,c]"""
    x = torch.tensor([[1.0, 3, 3, 2], [3, 1, 1, 1], [5, 5, 5, 5], [1, 2, torch.nan, 0]])
    keep = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1, 0]]).bool()
    got = meaning(text, {"x": x, "keep": keep, "k": torch.tensor([1, 2, 2, 9], dtype=torch.int32)})
    expected = [[0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 0]]
    assert got["T"].int().tolist() == expected
    assert got["A"].tolist() == [1, 1, 0, 2]
    assert got["R"].tolist() == [[0, 3, 1, 2], [1, 2, 3, 0], [0, 0, 0, 0], [0, 1, 2, 0]]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 0), (0.4, 1), (0.41, 2), (0.7, 2), (0.71, 3), (1.0, 4)]
)
def test_topp_takes_the_shortest_run_that_reaches_its_share(share: float, expected: int) -> None:
    text = "param p: float = 0.5\ninput x[c]\nT[c] = topp[c](x[c], p)\noutput T[c]"
    x = torch.tensor([0.0, 1.0, 4.0, 2.0, 3.0])
    got = meaning(text, {"x": x}, {"p": share})["T"]
    assert got.nonzero().flatten().tolist() == sorted([2, 4, 3, 1][:expected])


def test_results_are_laid_out_as_declared() -> None:
    text = "input x[(a b), i]\nindex b < 3\nY[a,b,i] = x[a,b,i] + a * 10\nZ[i] += i\noutput Y[i, (b a)], Z[i]"
    x = normal(6, 4)
    got = meaning(text, {"x": x}, a=2, b=3)
    expected = (x.view(2, 3, 4) + torch.tensor([0, 10])[:, None, None]).permute(2, 1, 0).reshape(4, 6)
    assert_close(got["Y"], expected)
    assert got["Y"].is_contiguous()


def test_named_composites_and_casts_of_inputs() -> None:
    text = "input x[h=(g r), i], s[h]\nindex r < 3\nY[h,i] = x[h,i] * s[h] + h\noutput Y[h, i]"
    x, s = normal(6, 4).bfloat16(), normal(6).half()
    expected = x.double() * s.double()[:, None] + torch.arange(6)[:, None]
    assert_close(meaning(text, {"x": x, "s": s}, g=2, r=3)["Y"], expected)
