"""Transforms of torch.func around attentions, and around their operators, against the same around the dense
reference.

A call is transformed by its own rules (`attn_dsl.runtime.autograd`), an operator by those that the dispatcher
has of it, which is what a compiled graph runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

import attn_dsl
from attn_dsl.runtime.native_launch import Prepared
from tests.runtime.called import assert_agree, example, leaves, loss, reals

NAMES = ("heads/differential", "masks/documents")
SLICES = 3


def mapped(name: str, over: int) -> tuple[attn_dsl.Attention, list[Tensor], tuple[int | None, ...]]:
    """An attention, its arguments with one of them in slices along its last axis, and where slices lie."""
    attention, arguments = example(name)
    arguments[over] = torch.stack([arguments[over] * (1 + at / 4) for at in range(SLICES)], -1)
    return attention, arguments, tuple(-1 if at == over else None for at in range(len(arguments)))


def one_by_one(call: Callable[..., Any], arguments: list[Tensor], dims: tuple[int | None, ...]) -> Any:
    """What vmap means."""
    rows = [
        call(*(t if d is None else t.select(d, at) for t, d in zip(arguments, dims, strict=True)))
        for at in range(SLICES)
    ]
    if isinstance(rows[0], Tensor):
        return torch.stack(rows)
    return tuple(torch.stack(column) for column in zip(*rows, strict=True))


def both(attention: attn_dsl.Attention, how: str) -> Callable[..., Any]:
    return attention.operator if how == "operator" else attention


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[Prepared]:
    """The programs that run, in order."""
    found: list[Prepared] = []
    run = Prepared.run

    def counted(self: Prepared, arguments: Sequence[Tensor]) -> list[Tensor]:
        found.append(self)
        return run(self, arguments)

    monkeypatch.setattr(Prepared, "run", counted)
    return found


HOW = pytest.mark.parametrize("how", ["call", "operator"])


@HOW
@pytest.mark.parametrize("name", NAMES)
def test_gradients(name: str, how: str) -> None:
    attention, arguments = example(name)
    call, wanted = both(attention, how), reals(arguments)
    found = grad(loss(call), wanted)(*arguments)
    assert_agree(found, grad(loss(attention.reference), wanted)(*arguments))
    _, pull = vjp(lambda first: loss(call)(first, *arguments[1:]), arguments[0])
    assert_agree(pull(torch.tensor(2.0, dtype=torch.float64)), [2 * found[0]])


@HOW
@pytest.mark.parametrize("name", NAMES)
def test_slices_are_one_call(name: str, how: str, launches: list[Prepared]) -> None:
    attention, arguments, dims = mapped(name, 0)
    found = vmap(both(attention, how), dims)(*arguments)
    assert_agree([found], [one_by_one(attention.reference, arguments, dims)])
    assert len(launches) == 1


@HOW
@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_for_each_slice(name: str, how: str, launches: list[Prepared]) -> None:
    """Of what is sliced and of what is the same for all; in one forward and one backward pass."""
    attention, arguments, dims = mapped(name, 0)
    wanted = reals(arguments)
    found = vmap(grad(loss(both(attention, how)), wanted), dims)(*arguments)
    assert_agree(found, one_by_one(grad(loss(attention.reference), wanted), arguments, dims))
    assert len(launches) == 2


@HOW
def test_a_gradient_of_all_slices(how: str) -> None:
    attention, arguments, dims = mapped("masks/documents", 1)
    given = leaves(arguments)
    wanted = [given[at] for at in reals(given)]
    found = torch.autograd.grad(vmap(loss(both(attention, how)), dims)(*given).sum(), wanted)
    expected = torch.autograd.grad(one_by_one(loss(attention.reference), given, dims).sum(), wanted)
    assert_agree(found, expected)


@HOW
def test_slices_of_slices(how: str) -> None:
    attention, arguments, dims = mapped("masks/documents", 0)
    arguments[3] = torch.stack([arguments[3], arguments[3].flip(-1)])
    outer = (None, None, None, 0)
    found = vmap(vmap(both(attention, how), dims), outer)(*arguments)
    expected = [one_by_one(attention.reference, [*arguments[:3], row], dims) for row in arguments[3]]
    assert_agree([found], [torch.stack(expected)])


@HOW
def test_slices_of_adjoints(how: str) -> None:
    """As torch.func.jacrev asks for them: the forward pass was one call."""
    attention, arguments = example("masks/documents")
    call = both(attention, how)
    _, pull = vjp(lambda *given: call(*given, arguments[3]), *arguments[:3])
    adjoints = torch.randn(2, *attention(*arguments).shape, dtype=torch.float64)
    found = vmap(pull)(adjoints)
    assert_agree(found, [torch.stack(parts) for parts in zip(*map(pull, adjoints), strict=True)], 1e-12)


@HOW
@pytest.mark.parametrize(("inner", "outer"), [(4, 5), (5, 5)])
def test_autograd_around_a_transform(inner: int, outer: int, how: str) -> None:
    """What the inner transform hides from its own level has a gradient outside."""

    def run(call: Callable[..., Tensor], arguments: list[Tensor]) -> Tensor:
        given = [t.detach().requires_grad_(at == outer) for at, t in enumerate(arguments)]
        result, _ = vjp(lambda t: call(*given[:inner], t, *given[inner + 1 :]), given[inner])
        return torch.autograd.grad(result.square().sum(), given[outer])[0]

    attention, arguments = example("heads/differential")
    assert_agree([run(both(attention, how), arguments)], [run(attention.reference, arguments)])


@pytest.mark.parametrize("how", ["functional", "graph"])
def test_second_derivatives_of_operators_are_refused(how: str) -> None:
    """Calls have them; a compiled graph has an error, never a silent zero."""
    attention, arguments = example("heads/differential")

    def slope(first: Tensor) -> Tensor:
        return grad(lambda t: loss(attention.operator)(t, *arguments[1:]))(first).square().sum()

    with pytest.raises(attn_dsl.NotLoweredError, match="second derivatives of differential"):
        if how == "functional":
            grad(slope)(arguments[0])
        else:
            given = leaves(arguments)
            first = torch.autograd.grad(loss(attention.operator)(*given), given, create_graph=True)
            torch.autograd.grad(first[0].sum(), given)


def first_alone(call: Callable[..., Tensor], arguments: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """A corner of the result, as a function of the first argument."""
    return lambda first: call(first, *arguments[1:])[:, :1, :2, :2]


@HOW
def test_tangents(how: str) -> None:
    attention, arguments = example("masks/documents")
    ours, theirs = (first_alone(c, arguments) for c in (both(attention, how), attention.reference))
    point, direction = arguments[0], arguments[0].cos()
    expected = torch.func.jvp(theirs, (point,), (direction,))
    assert_agree(torch.func.jvp(ours, (point,), (direction,)), expected)
    result, push = torch.func.linearize(ours, point)
    assert_agree([result, push(direction)], expected)
    assert_agree([torch.func.jacfwd(ours)(point)], [torch.func.jacfwd(theirs)(point)])


@HOW
def test_adjoints_and_tangents_in_batches(how: str) -> None:
    """By torch's older vmap, once and in itself."""
    attention, arguments = example("masks/documents")
    ours, theirs = (first_alone(c, arguments) for c in (both(attention, how), attention.reference))
    point = arguments[0]
    for options in ({}, {"strategy": "forward-mode"}, {"create_graph": True}):
        found, expected = (
            torch.autograd.functional.jacobian(f, point, vectorize=True, **options) for f in (ours, theirs)
        )
        assert_agree([found], [expected])
    given = leaves(arguments)
    wanted = [given[at] for at in reals(given)]
    adjoints = torch.randn(2, *attention(*arguments).shape, dtype=torch.float64)
    found, expected = (
        torch.autograd.grad(call(*given), wanted, adjoints, is_grads_batched=True)
        for call in (both(attention, how), attention.reference)
    )
    assert_agree(found, expected)


@pytest.mark.parametrize("outer", ["reverse-mode", "forward-mode"])
def test_second_derivatives_in_batches(outer: str) -> None:
    attention, arguments = example("masks/documents")

    def hessian(call: Callable[..., Tensor]) -> Any:
        whole = loss(lambda row: call(row.expand(arguments[0].shape), *arguments[1:]))
        row = arguments[0][0, 0]
        options: dict[str, Any] = {"vectorize": True, "outer_jacobian_strategy": outer}
        return torch.autograd.functional.hessian(whole, row, **options)

    assert_agree([hessian(attention)], [hessian(attention.reference)], 1e-5)
