"""The backward cascade means the gradient: evaluated densely, it is what autograd gives through the dense
reference.

Both sides are in float64, and share neither rules nor code: torch differentiates the reference's own
operations."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import attn_dsl
from attn_dsl.differentiation import Backward, backward
from attn_dsl.ir.printer import print_cascade
from attn_dsl.language.load import load_text
from attn_dsl.reference import evaluate
from attn_dsl.runtime.params import resolve_params
from tests.differentiation.dense import gradients
from tests.examples.cases import CASES, EXAMPLES, example_names


def seeds(passes: Backward, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {seed: torch.randn_like(outputs[output]) for output, seed in passes.seeds.items()}


@pytest.mark.parametrize("name", example_names())
def test_the_backward_cascade_of_an_example(name: str) -> None:
    attention = attn_dsl.compile(EXAMPLES / f"{name}.attn", params=CASES[name].params)
    cascade = attention.cascade
    sizes = CASES[name].all_sizes(cascade)
    arguments = CASES[name].arguments(cascade, "f64")
    leaves = {n: t.double().requires_grad_() for n, t in arguments.items() if t.is_floating_point()}
    outputs = evaluate(cascade, attention.params, {**arguments, **leaves}, sizes)
    passes = backward(cascade)
    given = seeds(passes, outputs)
    loss = torch.stack([(given[s] * outputs[o]).sum() for o, s in passes.seeds.items()]).sum()
    expected = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    with torch.no_grad():
        found = gradients(passes, attention.params, arguments, sizes, given)
    for (leaf, value), gradient in zip(leaves.items(), expected, strict=True):
        zero = torch.zeros_like(value)
        torch.testing.assert_close(
            found.get(leaf, zero), zero if gradient is None else gradient, atol=1e-10, rtol=1e-9, msg=lambda m, n=leaf: f"{n}: {m}"
        )  # fmt: skip


def test_the_row_term_of_flash_attention_falls_out() -> None:
    """dS = P * (dP - D) with D = sum_e dO O, from the quotient's own rule: nothing of it is built in."""
    text = print_cascade(backward(attn_dsl.compile(EXAMPLES / "basic" / "dense.attn").cascade).cascade)
    assert "d_P_l[b,h,i] += d_O[b,h,i,e] * -(O[b,h,i,e] / P_l[b,h,i])" in text


def test_only_linear_tensors_are_kept() -> None:
    """Row statistics and the output; the pairs are computed anew."""
    passes = backward(attn_dsl.compile(EXAMPLES / "masks" / "sliding_window.attn").cascade)
    assert set(passes.kept) == {"P_m_max", "P_l", "O"}


@pytest.mark.parametrize(
    "name", ["positions/relative_logits", "multidim/neighbourhood_bias", "positions/relative_bias"]
)
def test_a_table_that_pairs_share_gets_its_gradient_as_a_keyed_sum(name: str) -> None:
    """Not one for each row: a table of distances is as long as the rows are many."""
    passes = backward(attn_dsl.compile(EXAMPLES / f"{name}.attn").cascade)
    (table,) = (i for i in attn_dsl.compile(EXAMPLES / f"{name}.attn").cascade.inputs if i.dims[0] == "h")
    (adjoint,) = (o for o in passes.cascade.outputs if o.name.startswith(f"d_{table.name}"))
    assert adjoint.axes == table.axes


RULES = {
    "every function": """sqrt(1 + x*x) + rsqrt(2 + x*x) + exp(x) + exp2(x) + expm1(x) + log(3 + x*x) + log2(3 + x*x)
 + log1p(x*x) + sin(x) * cos(x) + tan(x / 9) + tanh(x) + sigmoid(x) + softplus(x) + silu(x) + gelu(x) + erf(x) + relu(x)""",
    "arithmetic": "x * y - y / (2 + x*x) + (-x) + x ** 3 + (2 + y*y) ** (x / 3) + abs(x) + x % 0.7 + x // 1 + floor(y)",
    "choice": "(x if x > y else y * x) + max(x, y, 0.1) + min(x, y) + clamp(x, -0.5, y)",
    "detached": "x * detach(y) + detach(x * y)",
    "rounded": "f32(x) * f64(y)",
    "absent": "default(T[j + 1], y) * x + default(T[j + 1] * x, 0.5)",
}


@pytest.mark.parametrize("name", RULES)
def test_the_derivative_of_an_expression(name: str) -> None:
    cascade = load_text(rule_text(name)).cascade
    params = resolve_params(cascade, {})
    torch.manual_seed(1)
    leaves = {"T": torch.randn(7).double().requires_grad_(), "U": torch.randn(5).double().requires_grad_()}
    sizes = {"i": 5, "j": 7}
    outputs = evaluate(cascade, params, leaves, sizes)
    passes = backward(cascade)
    given = seeds(passes, outputs)
    loss = (given["grad_R"] * outputs["R"]).sum()
    expected = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    with torch.no_grad():
        found = gradients(passes, params, {n: t.detach() for n, t in leaves.items()}, sizes, given)
    for leaf, gradient in zip(leaves, expected, strict=True):
        zero = torch.zeros_like(gradient)
        tolerance = 1e-6 if name == "rounded" else 1e-10  # torch rounds the gradient of a rounded value too
        torch.testing.assert_close(found.get(leaf, zero), gradient, atol=tolerance, rtol=tolerance)


def rule_text(name: str) -> str:
    """A file whose only statement sums an expression of `RULES`."""
    return f"""attention rules
input T[j], U[i]
def rule(x, y, z) = {" ".join(RULES[name].replace("T[j + 1]", "z").split())}
R[i] += rule(T[j], U[i], T[j + 1])  where i != j
output R[i]
"""
