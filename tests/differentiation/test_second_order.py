"""Tangents, and derivatives of derivatives, as kernels compute them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import grad, hessian, jvp, vmap  # pyright: ignore[reportPrivateImportUsage]

import attn_dsl
from attn_dsl.errors import NotLoweredError
from tests.differentiation.dense import drawn_like
from tests.differentiation.test_kernels import WINDOW, example, window
from tests.examples.cases import CASES

pytestmark = pytest.mark.usefixtures("quick_builds")

# Sums over rows at the end (alibi), computed places (token_gather, relative_logits), several streams
# (sink_key).
CHECKED = (
    "basic/cross_causal",
    "cache/token_gather",
    "heads/grouped_query",
    "normalisers/sink_key",
    "normalisers/sink_logits",
    "positions/alibi",
    "positions/relative_logits",
)
# Ranking has no kernels yet.
WITHOUT_TANGENT = ("coming/block_selection",)


def leaves_of(arguments: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n: t.detach().requires_grad_() for n, t in arguments.items() if t.is_floating_point()}


def moved(call: Any, arguments: dict[str, Tensor], along: dict[str, Tensor]) -> list[Tensor]:
    """The tangents of the outputs."""
    with forward_ad.dual_level():
        duals = {n: forward_ad.make_dual(t, along[n]) if n in along else t for n, t in arguments.items()}
        outputs = call(**duals)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return [t for o in outputs if (t := forward_ad.unpack_dual(o).tangent) is not None]


def twice(call: Any, arguments: dict[str, Tensor]) -> list[Tensor]:
    """The gradients, by arguments and adjoints, of a sum of gradients."""
    leaves = leaves_of(arguments)
    outputs = call(**{**arguments, **leaves})
    outputs = [o for o in (outputs if isinstance(outputs, tuple) else (outputs,)) if o.requires_grad]
    adjoints = list(drawn_like({str(at): o for at, o in enumerate(outputs)}, 2).values())
    adjoints = [a.to(o.dtype).requires_grad_() for a, o in zip(adjoints, outputs, strict=True)]
    found = torch.autograd.grad(outputs, list(leaves.values()), adjoints, create_graph=True)
    weights = drawn_like(leaves, 3).values()
    total = sum((g.double() * w).sum() for g, w in zip(found, weights, strict=True))
    assert isinstance(total, Tensor)
    wanted = [*leaves.values(), *adjoints]
    return list(torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True))


def agree(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.double(), theirs.double(), atol=tolerance, rtol=tolerance)


def smaller(name: str) -> tuple[attn_dsl.Attention, dict[str, Tensor]]:
    attention, arguments = example(name, "f64")
    sizes = {**CASES[name].all_sizes(attention.cascade), "i": 5, "j": 5, "d": 3, "e": 2, "b": 1}
    small = {
        declared.name: arguments[declared.name][
            tuple(slice(0, _extent(axis.indices, sizes)) for axis in declared.axes)
        ].contiguous()
        for declared in attention.cascade.inputs
    }
    return attention, small


def _extent(indices: tuple[str, ...], sizes: dict[str, int]) -> int:
    extent = 1
    for index in indices:
        extent *= sizes[index]
    return extent


@pytest.mark.parametrize("name", CHECKED)
def test_by_differences(name: str) -> None:
    """First derivatives forward, second ones reverse over reverse, in f64, by torch's own checks; by all
    arguments at once, laid end to end."""
    attention, arguments = smaller(name)
    leaves = leaves_of(arguments)
    flat = torch.cat([t.detach().flatten() for t in leaves.values()]).requires_grad_()

    def call(given: Tensor) -> Any:
        parts = given.split([t.numel() for t in leaves.values()])
        real = {n: p.view(t.shape) for (n, t), p in zip(leaves.items(), parts, strict=True)}
        return attention(**{**arguments, **real})

    assert torch.autograd.gradcheck(call, flat, fast_mode=True, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(call, flat, fast_mode=True)


@pytest.mark.parametrize("name", ["cache/column_sums", "positions/relative_bias"])
def test_tangents_of_an_example(name: str) -> None:
    """Two kernels; and a table read at a distance."""
    attention, arguments = example(name, "f64")
    along = drawn_like(arguments)
    agree(moved(attention, arguments, along), moved(attention.reference, arguments, along), 1e-6)


@pytest.mark.parametrize("name", ["heads/grouped_query", "positions/alibi"])
def test_triton_tangents(name: str) -> None:
    attention, arguments = example(name, "f32", "interpreter")
    along = {n: t.float() for n, t in drawn_like(arguments).items()}
    agree(moved(attention, arguments, along), moved(attention.reference, arguments, along), 3e-5)


def test_triton_second_derivatives() -> None:
    attention, reference = (attn_dsl.compile(WINDOW, target=t) for t in ("interpreter", "cpu"))
    arguments = window(17, torch.float32, 4)
    agree(twice(attention, arguments), twice(reference.reference, arguments), 1e-4)


@pytest.mark.parametrize("n", [0, 1, 4, 40])
def test_rows_without_keys(n: int) -> None:
    """Zero tangents, zero second derivatives, never NaN, also where a key that no row sees is NaN."""
    attention, arguments = attn_dsl.compile(WINDOW), window(n)
    along = drawn_like(arguments)
    if n == 0:
        assert all(
            t.numel() == 0 for t in moved(attention, arguments, along) + twice(attention, arguments)[:-1]
        )
        return
    expected = moved(attention.reference, arguments, along), twice(attention.reference, arguments)
    agree(moved(attention, arguments, along), expected[0], 1e-10)
    agree(twice(attention, arguments), expected[1], 1e-9)
    for name in "KV":
        arguments[name][:, :, -3:] = torch.nan
        along[name][:, :, -3:] = torch.nan
    agree(moved(attention, arguments, along), expected[0], 1e-10)
    agree(twice(attention, arguments), expected[1], 1e-9)
    assert all((t[1] == 0).all() and (t[:, :, :3] == 0).all() for t in expected[0])


def square(f: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: f(x).square().sum()


TRANSFORMED: dict[str, Callable[[Any, Tensor, Tensor], Any]] = {
    "jvp": lambda f, x, t: jvp(f, (x,), (t,)),
    "forward over forward": lambda f, x, t: jvp(lambda y: jvp(f, (y,), (t,))[1], (x,), (x,)),
    "forward over reverse": lambda f, x, t: jvp(grad(square(f)), (x,), (t,)),
    "reverse over forward": lambda f, x, t: grad(square(lambda y: jvp(f, (y,), (t,))[1]))(x),
    "reverse over reverse": lambda f, x, t: grad(square(grad(square(f))))(x),
    "third order": lambda f, x, t: grad(square(grad(square(grad(square(f))))))(x),
    "per sample": lambda f, x, t: vmap(grad(square(f)))(torch.stack([x, t])),
    "hessian": lambda f, x, t: hessian(square(f))(x),
}  # fmt: skip


@pytest.mark.parametrize("transform", TRANSFORMED)
def test_transforms_of_torch(transform: str) -> None:
    """Of ``torch.func``, nested as one likes."""
    attention, arguments = attn_dsl.compile(WINDOW), window(6, d=2)
    arguments = {n: t[:1, :1] if t.dim() > 1 else t[:1] for n, t in arguments.items()}
    along = drawn_like(arguments)["Q"]

    def dense(x: Tensor) -> Tensor:  # in operations that torch can batch, which the reference's are not all
        scores = (x @ arguments["K"].mT / 2**0.5) + torch.triu(torch.full((6, 6), -torch.inf), -2).double()
        weights = scores[..., 3:, :].softmax(-1) @ arguments["V"]
        seen = arguments["gate"][..., 3:, None] * weights
        return torch.cat([torch.zeros_like(x[..., :3, :]), seen], -2)

    def fused(x: Tensor) -> Tensor:
        return attention(**{**arguments, "Q": x})

    found, expected = (TRANSFORMED[transform](f, arguments["Q"], along) for f in (fused, dense))
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-8)


def test_forward_over_reverse_without_transforms() -> None:
    """Dual tensors that want gradients, the tangent of the gradient and the gradient of the tangent."""
    attention, arguments = attn_dsl.compile(WINDOW), window(12)
    along = drawn_like(arguments)["Q"]
    results: list[list[Tensor]] = []
    for call in (attention, attention.reference):
        leaf = arguments["Q"].clone().requires_grad_()
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(leaf, along)
            output = call(**{**arguments, "Q": dual})
            (sent,) = torch.autograd.grad(output.pow(3).sum(), leaf, retain_graph=True)
            tangent = forward_ad.unpack_dual(output).tangent
            assert tangent is not None
            (second,) = torch.autograd.grad(tangent.pow(2).sum(), leaf)
            of_sent = forward_ad.unpack_dual(sent).tangent
            assert of_sent is not None
            results.append([sent.detach().clone(), of_sent.clone(), second])
    agree(results[0], results[1], 1e-9)


def test_primal_and_tangent_are_one_kernel() -> None:
    attention, arguments = attn_dsl.compile(WINDOW), window(12)
    moved(attention, arguments, drawn_like(arguments))
    assert attention.kernels.ready(tuple(arguments.values())) is None  # the mechanism's own kernels never ran


def test_only_what_moves_is_an_input() -> None:
    attention, arguments = attn_dsl.compile(WINDOW), window(9)
    along = {"gate": drawn_like(arguments)["gate"]}
    agree(moved(attention, arguments, along), moved(attention.reference, arguments, along), 1e-10)


@pytest.mark.parametrize("name", WITHOUT_TANGENT)
def test_what_has_no_tangent_says_so(name: str) -> None:
    attention, arguments = example(name, "f64")
    with pytest.raises(NotLoweredError, match="not lowered to a kernel yet"):
        moved(attention, arguments, drawn_like(arguments))


def test_a_derivative_never_stores_pairs() -> None:
    from attn_dsl.codegen.program import Buffer, Program
    from attn_dsl.differentiation.memory import pairs_of

    cascade = attn_dsl.compile(WINDOW).cascade
    pairs = pairs_of(cascade)
    assert ("i", "j") in pairs.indices
    linear = Program("", (), (Buffer("d_P_l", (("b",), ("h",), ("i",)), "f32", False),), ())
    pairs.refuse(linear, cascade, {})
    dense = Program("", (), (Buffer("d_P", (("b",), ("h",), ("i",), ("j",)), "f32", False),), ())
    with pytest.raises(NotLoweredError, match="all pairs of 'i' and 'j'"):
        pairs.refuse(dense, cascade, {})
