"""The derivatives of each example are those of its paper's formula, written by hand in plain torch and
differentiated by torch's own autograd in float64: what the compiler derives shares neither text nor rule with
that.

Gradient, tangent and the derivative of the gradient along a direction, of the cascades that differentiation
gives, evaluated densely; the kernels made from these cascades are held to them elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from attn_dsl.differentiation import backward, tangent
from attn_dsl.language.load import load_file
from attn_dsl.reference import evaluate
from attn_dsl.runtime.sizes import evaluate_size
from attn_dsl.testing.gradients import one_cascade
from tests.differentiation.dense import doubled, drawn_like, gradients, tangents
from tests.differentiation.lowered import DIFFERENTIABLE
from tests.examples.cases import CASES, EXAMPLES, example_names
from tests.examples.test_meaning import dense_formula

Tensors = Mapping[str, Tensor]


class Judged:
    """An example, its small call, and its formula as a function of the floating arguments."""

    def __init__(self, name: str) -> None:
        case = CASES[name]
        self.cascade = load_file(EXAMPLES / f"{name}.attn").cascade
        self.params = {p.name: p.default for p in self.cascade.params} | dict(case.params)
        self.sizes = case.all_sizes(self.cascade)
        self.arguments = doubled(case.arguments(self.cascade))
        self.leaves = {
            n: t.clone().requires_grad_() for n, t in self.arguments.items() if t.is_floating_point()
        }
        self.along = drawn_like(self.leaves, 2)
        self._formula = dense_formula(name)

    def formula(self) -> dict[str, Tensor]:
        """The results that are reals, from the leaves."""
        found = self._formula(**{**self.arguments, **self.leaves}, **self.params)
        results = found if isinstance(found, tuple) else (found,)
        named = {o.name: r for o, r in zip(self.cascade.outputs, results, strict=True)}
        return {n: r for n, r in named.items() if r.requires_grad}

    def seeds(self, results: Tensors) -> dict[str, Tensor]:
        """An adjoint for each result."""
        return drawn_like(results, 3)

    def formula_gradients(
        self, results: Tensors, adjoints: Tensors, *, create_graph: bool = False
    ) -> Tensors:
        """Of the results along the adjoints, by autograd."""
        found = torch.autograd.grad(
            [results[n] for n in results], list(self.leaves.values()), [adjoints[n] for n in results],
            create_graph=create_graph, materialize_grads=True, allow_unused=True,
        )  # fmt: skip
        return dict(zip(self.leaves, found, strict=True))


def near(found: Mapping[str, Tensor], expected: Tensors, of: str) -> None:
    for name, value in expected.items():
        own = found.get(name)
        torch.testing.assert_close(
            torch.zeros_like(value) if own is None else own, value.detach(), rtol=1e-8, atol=1e-9,
            msg=lambda m, n=name: f"the {of} of {n}: {m}",
        )  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients(name: str) -> None:
    judged = Judged(name)
    results = judged.formula()
    adjoints = judged.seeds(results)
    expected = judged.formula_gradients(results, adjoints)
    passes = backward(judged.cascade)
    given = {passes.seeds[n]: a for n, a in adjoints.items()}
    found = gradients(passes, judged.params, judged.arguments, judged.sizes, given)
    near(found, expected, "gradient")


@pytest.mark.parametrize("name", example_names())
def test_tangents(name: str) -> None:
    """The product of a tangent with adjoints is that of the gradient with the direction."""
    judged = Judged(name)
    results = judged.formula()
    adjoints = judged.seeds(results)
    against = judged.formula_gradients(results, adjoints)
    found = tangents(tangent(judged.cascade), judged.params, judged.arguments, judged.sizes, judged.along)
    total = _product(found, adjoints)
    torch.testing.assert_close(total, _product(against, judged.along), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_second_derivatives(name: str) -> None:
    """The tangent of the gradient, which forward mode derives from the backward cascade."""
    judged = Judged(name)
    results = judged.formula()
    adjoints = judged.seeds(results)
    first = judged.formula_gradients(results, adjoints, create_graph=True)
    curved = {n: g for n, g in first.items() if g.requires_grad}
    weights = drawn_like(first, 4)
    total = torch.stack([(weights[n] * g).sum() for n, g in curved.items()]).sum()
    pulled = torch.autograd.grad(
        total, list(judged.leaves.values()), materialize_grads=True, allow_unused=True
    )
    expected = _product(dict(zip(judged.leaves, pulled, strict=True)), judged.along)

    passes = backward(judged.cascade)
    moved = tangent(one_cascade(passes), tuple(judged.leaves))
    given = {passes.seeds[n]: a for n, a in adjoints.items()}
    along = {moved.seeds[n]: judged.along[n] for n in judged.leaves}
    sizes = dict(judged.sizes)
    for index in moved.cascade.indices:
        sizes.setdefault(index.name, evaluate_size(index.size, judged.params, sizes) or 0)
    computed = evaluate(moved.cascade, judged.params, {**judged.arguments, **given, **along}, sizes)
    found = {n: computed[moved.tangents[t]] for n, t in passes.gradients.items() if t in moved.tangents}
    torch.testing.assert_close(_product(found, weights), expected.detach(), rtol=1e-7, atol=1e-8)


def _product(some: Tensors, others: Tensors) -> Tensor:
    return torch.stack([(t * others[n]).sum() for n, t in some.items()]).sum().detach()
