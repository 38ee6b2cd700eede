"""Each form means what plain torch says: value, gradient, tangent and second derivative, in float64 and
against torch's own autograd; through the dense reference, through the cascades that differentiation derives,
and through kernels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import attn_dsl
from attn_dsl.differentiation import backward, tangent
from attn_dsl.reference import evaluate
from attn_dsl.runtime.sizes import evaluate_size
from attn_dsl.testing.gradients import one_cascade
from tests.differentiation.dense import drawn_like
from tests.meaning.forms import FORMS, Form


def close(found: Tensor, expected: Tensor, of: str) -> None:
    torch.testing.assert_close(
        found.detach(), expected.detach(), rtol=1e-9, atol=1e-9, msg=lambda m: f"{of}: {m}"
    )


def along(tensors: list[Tensor], seed: int) -> list[Tensor]:
    """A direction, or adjoints."""
    return list(drawn_like({str(n): t for n, t in enumerate(tensors)}, seed).values())


def first_and_second(form: Form, leaves: list[Tensor]) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """By the formula: value, gradient along an adjoint, tangent along a direction, and the second derivative
    along it."""
    value = form.formula(*leaves)
    (seed,), direction = along([value], 2), along(leaves, 3)
    gradients = torch.autograd.grad(value, leaves, seed, create_graph=True, materialize_grads=True)
    moved = sum(((g * t).sum() for g, t in zip(gradients, direction, strict=True)), torch.zeros(()).double())
    if not moved.requires_grad:  # linear
        return value, list(gradients), moved, torch.zeros(()).double()
    curved = torch.autograd.grad(moved, leaves, materialize_grads=True, allow_unused=True)
    again = sum((c * t).sum() for c, t in zip(curved, direction, strict=True))
    assert isinstance(again, Tensor)
    return value, list(gradients), moved, again


@pytest.mark.parametrize("name", FORMS)
def test_a_form(name: str) -> None:
    """Dense evaluation of the text, of its backward cascade, its tangent, and the tangent of its backward
    cascade."""
    form = FORMS[name]
    leaves = [t.requires_grad_() for t in form.arguments()]
    value, gradients, moved, curved = first_and_second(form, leaves)
    cascade = attn_dsl.compile(form.text).cascade
    names = [i.name for i in cascade.inputs if i.name not in form.integers]
    given: dict[str, Tensor] = {
        **dict(zip(names, (t.detach() for t in leaves), strict=True)),
        **form.integers,
    }
    (seed,), direction = along([value], 2), dict(zip(names, along(leaves, 3), strict=True))
    close(evaluate(cascade, {}, given, form.sizes)["O"], value, "value")

    def evaluated(of: attn_dsl.ir.cascade.Cascade, more: dict[str, Tensor]) -> dict[str, Tensor]:
        sizes = dict(form.sizes)
        for index in of.indices:
            sizes.setdefault(index.name, evaluate_size(index.size, {}, sizes) or 0)
        return evaluate(of, {}, {**given, **more}, sizes)

    forward = tangent(cascade)
    found = evaluated(forward.cascade, {s: direction[n] for n, s in forward.seeds.items()})
    close((found[forward.tangents["O"]] * seed).sum(), moved, "tangent")

    passes = backward(cascade)
    whole = one_cascade(passes)
    found = evaluated(whole, {passes.seeds["O"]: seed})
    for name_, expected in zip(names, gradients, strict=True):
        own = found[passes.gradients[name_]] if name_ in passes.gradients else torch.zeros_like(expected)
        close(own.reshape(expected.shape), expected, f"gradient of {name_}")

    twice = tangent(whole, tuple(names))
    seeds = {s: direction[n] for n, s in twice.seeds.items()}
    found = evaluated(twice.cascade, {passes.seeds["O"]: seed, **seeds})
    again = torch.zeros(()).double()
    for name_, gradient in passes.gradients.items():
        if gradient in twice.tangents:
            bent = found[twice.tangents[gradient]]
            again = again + (bent * direction[name_].reshape(bent.shape)).sum()
    close(again, curved, "second derivative")


@pytest.mark.parametrize("name", FORMS)
def test_the_kernels_of_a_form(name: str, plain_builds: None) -> None:
    """Value and gradients by C++ kernels, in f64."""
    form = FORMS[name]
    leaves = [t.requires_grad_() for t in form.arguments()]
    value, gradients, _, _ = first_and_second(form, leaves)
    attention = attn_dsl.compile(form.text, target="cpu")
    names = [i.name for i in attention.cascade.inputs if i.name not in form.integers]
    found = attention(**dict(zip(names, leaves, strict=True)), **form.integers)
    close(found, value, "value")
    own = torch.autograd.grad(found, leaves, along([value], 2), materialize_grads=True, allow_unused=True)
    for name_, gradient, expected in zip(names, own, gradients, strict=True):
        close(gradient, expected, f"gradient of {name_}")
