"""The tangent cascade means the directional derivative: evaluated densely, it is what torch's forward mode
gives through the dense reference, and the transpose of the backward cascade."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import attn_dsl
from attn_dsl.differentiation import backward, tangent
from attn_dsl.errors import NotLoweredError
from attn_dsl.ir.printer import print_cascade
from attn_dsl.language.load import load_text
from attn_dsl.reference import evaluate
from attn_dsl.runtime.params import resolve_params
from attn_dsl.testing.choices import spread
from attn_dsl.testing.mechanisms import mechanism
from attn_dsl.testing.strategies import Limits
from tests.differentiation.dense import doubled, drawn_like, gradients, tangents, tangents_by_torch
from tests.differentiation.test_reverse import RULES, rule_text
from tests.examples.cases import CASES, EXAMPLES, example_names


def near(found: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", example_names())
def test_the_tangent_cascade_of_an_example(name: str) -> None:
    """Of every one: what has no kernel yet, or no gradient, has a tangent all the same."""
    attention = attn_dsl.compile(EXAMPLES / f"{name}.attn", params=CASES[name].params)
    cascade, sizes = attention.cascade, CASES[name].all_sizes(attention.cascade)
    arguments = doubled(CASES[name].arguments(cascade, "f64"))
    along = drawn_like(arguments)
    found = tangents(tangent(cascade), attention.params, arguments, sizes, along)
    for output, expected in tangents_by_torch(cascade, attention.params, arguments, sizes, along).items():
        near(found.get(output, torch.zeros_like(expected)), expected)


@pytest.mark.parametrize("name", RULES)
def test_the_tangent_of_an_expression(name: str) -> None:
    cascade = load_text(rule_text(name)).cascade
    arguments = drawn_like({"T": torch.zeros(7), "U": torch.zeros(5)})
    along = drawn_like(arguments, 2)
    sizes = {"i": 5, "j": 7}
    found = tangents(tangent(cascade), {}, arguments, sizes, along)
    expected = tangents_by_torch(cascade, {}, arguments, sizes, along)
    near(found["R"], expected["R"])


TINY = Limits(dtypes=("f32",), longest=6, widest=3, work=1 << 10)


@pytest.mark.parametrize("number", range(30))
def test_random_mechanisms(number: int) -> None:
    """<t, vjp(c)> = <c, jvp(t)>, and jvp(t) is torch's own."""
    found = mechanism(spread(3, number), TINY)
    cascade = load_text(found.text).cascade
    params, sizes = resolve_params(cascade, found.params), found.example.sizes
    arguments = doubled(found.example.arguments)
    arguments |= drawn_like(arguments, 5)
    along = drawn_like(arguments, 6)
    outputs = evaluate(cascade, params, arguments, sizes)
    moved = tangents(tangent(cascade), params, arguments, sizes, along)
    for name, expected in tangents_by_torch(cascade, params, arguments, sizes, along).items():
        counts = outputs[name].isfinite() & expected.isfinite()
        near(moved.get(name, torch.zeros_like(expected))[counts], expected[counts], 1e-7)
    try:
        passes = backward(cascade)
    except NotLoweredError:
        return
    adjoints = {seed: torch.randn_like(outputs[o]) for o, seed in passes.seeds.items()}
    sent = gradients(passes, params, arguments, sizes, adjoints)
    terms = [along[n] * g for n, g in sent.items()]
    left = sum(float(t.sum()) for t in terms)
    right = sum(float((adjoints[s] * moved[o]).sum()) for o, s in passes.seeds.items())
    scale = 1 + sum(float(t.abs().sum()) for t in terms)
    assert abs(left - right) <= 1e-9 * scale or not all(o.isfinite().all() for o in outputs.values())


def test_a_tangent_is_written_as_its_tensor_is() -> None:
    """The weights' own value stands in their tangent, what is detached has none, and the division is
    hoisted."""
    text = print_cascade(tangent(attn_dsl.compile(EXAMPLES / "basic" / "dense.attn").cascade).cascade)
    assert "0.6931471805599453 * P_w[b,h,i,j]" in text
    assert "t_P_m_max" not in text
    assert "t_O[b,h,i,e] = t_O_sum[b,h,i,e] / P_l[b,h,i]" in text


ABSENT = """attention absent
input T[j], U[i], bound
M[i] max= T[j] * U[i]  where j < i - 1
M[i] max= bound  where i > 2
R[i] = default(M[i], 0) + U[i]
output R[i]
"""


def test_parts_that_do_not_move_still_exist() -> None:
    """The tangent of a row whose maximum is attained by a part without a tangent is 0, not absent."""
    cascade = load_text(ABSENT).cascade
    arguments = {
        **drawn_like({"T": torch.zeros(6), "U": torch.zeros(6)}),
        "bound": torch.tensor(50.0).double(),
    }
    along = drawn_like({"U": torch.zeros(6)}, 3)
    sizes = {"i": 6, "j": 6}
    found = tangents(tangent(cascade, ["U"]), {}, arguments, sizes, along)
    by_first = arguments["T"][0] * along["U"] * torch.tensor([0.0, 0, 1, 0, 0, 0])
    near(found["R"], along["U"] + by_first)
    along |= {"T": torch.zeros(6).double(), "bound": torch.tensor(1.0).double()}
    found = tangents(tangent(cascade), {}, arguments, sizes, along)
    near(found["R"], along["U"] + by_first + torch.tensor([0.0, 0, 0, 1, 1, 1]))


PRODUCT = """attention product
input T[i, j]
R[i] *= T[i,j]  where j <= i
output R[i]
"""


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_a_product_with_zeros(zeros: int) -> None:
    """First and second derivatives, where some of the elements are exactly 0."""
    cascade = load_text(PRODUCT).cascade
    value, along = (t["T"] for t in (drawn_like({"T": torch.zeros(5, 4)}, s) for s in (1, 2)))
    value[3, :zeros] = 0
    weights = drawn_like({"R": torch.zeros(5)}, 3)["R"]
    sizes = {"i": 5, "j": 4}
    leaf = value.clone().requires_grad_()
    product = torch.stack([leaf[i, : i + 1].prod() for i in range(5)])
    (expected,) = torch.autograd.grad(product, leaf, weights, create_graph=True)
    passes, moved = backward(cascade), tangent(cascade)
    near(gradients(passes, {}, {"T": value}, sizes, {"grad_R": weights})["T"], expected.detach())
    near(
        weights @ tangents(moved, {}, {"T": value}, sizes, {"T": along})["R"],
        (expected * along).sum().detach(),
    )
    (second,) = torch.autograd.grad((expected * along).sum(), leaf)
    again = tangent(passes.cascade, ["T"])
    found = evaluate(again.cascade, {}, {"T": value, "grad_R": weights, again.seeds["T"]: along}, sizes)
    near(found[again.tangents[passes.gradients["T"]]], second)
    twice = backward(moved.cascade, ["T"])
    adjoints = {
        s: weights if o == moved.tangents["R"] else torch.zeros(5).double() for o, s in twice.seeds.items()
    }
    given = {"T": value, moved.seeds["T"]: along}
    near(gradients(twice, {}, given, sizes, adjoints)["T"], second)
