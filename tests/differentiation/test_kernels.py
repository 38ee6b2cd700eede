"""Gradients that kernels compute are those of the dense reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import attn_dsl
from attn_dsl.runtime.cache import statistics
from tests.differentiation.lowered import DIFFERENTIABLE
from tests.examples.cases import CASES, EXAMPLES

BY_INTERPRETER = ("basic/cross_causal", "heads/grouped_query", "heads/differential", "multidim/neighbourhood_2d",
                  "normalisers/sink_logits", "positions/alibi", "positions/relative_bias", "cache/token_gather")  # fmt: skip
REAL = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def differentiated(call: Any, arguments: dict[str, Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The outputs of a call, and the gradients of its floating arguments for adjoints that depend on nothing
    else."""
    leaves = {n: t.detach().requires_grad_() for n, t in arguments.items() if t.is_floating_point()}
    outputs = call(**{**arguments, **leaves})
    outputs = [o for o in (outputs if isinstance(outputs, tuple) else (outputs,)) if o.requires_grad]
    generator = torch.Generator().manual_seed(2)
    adjoints = [torch.randn(o.shape, generator=generator).to(o.dtype) for o in outputs]
    found = torch.autograd.grad(
        outputs, list(leaves.values()), adjoints, allow_unused=True, materialize_grads=True
    )
    return outputs, dict(zip(leaves, found, strict=True))


def agree(attention: attn_dsl.Attention, arguments: dict[str, Tensor], tolerance: float) -> None:
    _, found = differentiated(attention, arguments)
    _, expected = differentiated(attention.reference, arguments)
    for name, gradient in found.items():
        assert gradient.dtype == arguments[name].dtype and gradient.shape == arguments[name].shape
        torch.testing.assert_close(
            gradient.double(), expected[name].double(), atol=tolerance, rtol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )  # fmt: skip


def example(name: str, dtype: str, target: str | None = None) -> tuple[attn_dsl.Attention, dict[str, Tensor]]:
    attention = attn_dsl.compile(EXAMPLES / f"{name}.attn", params=CASES[name].params, target=target)
    declared = {i.name: i.dtype for i in attention.cascade.inputs}
    arguments = CASES[name].arguments(attention.cascade, dtype)
    return attention, {
        n: t.to(REAL[dtype]) if t.is_floating_point() and declared[n] is None else t
        for n, t in arguments.items()
    }


def assert_told_in_advance(attention: attn_dsl.Attention, arguments: list[Tensor]) -> None:
    """What tracing is told of results, and of what is kept, before there is a program, is what the kernels
    give."""
    operator = attention.operator
    keeping = getattr(torch.ops.attn_dsl, f"{operator.name().split('::')[1]}_forward")
    wanted = [at for at, t in enumerate(arguments) if t.is_floating_point()]
    mode = FakeTensorMode()
    fakes = [mode.from_tensor(t) for t in arguments]
    results, told = operator(*arguments), operator(*fakes)
    results, told = (r if isinstance(r, tuple) else (r,) for r in (results, told))
    results, told = (
        [*results, *keeping(arguments, wanted, [])],
        [*told, *keeping(fakes, wanted, [])],
    )
    for real, fake in zip(results, told, strict=True):
        assert (real.shape, real.stride(), real.dtype) == (fake.shape, fake.stride(), fake.dtype)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_native_gradients_of_an_example(name: str) -> None:
    """In f64, where nothing but a wrong formula can make a difference."""
    attention, arguments = example(name, "f64")
    agree(attention, arguments, tolerance=1e-9)
    assert_told_in_advance(attention, list(arguments.values()))


@pytest.mark.parametrize("name", BY_INTERPRETER)
def test_triton_gradients_of_an_example(name: str) -> None:
    agree(*example(name, "f32", "interpreter"), tolerance=3e-5)


@pytest.mark.parametrize("name", ["masks/sink_window", "heads/grouped_query"])
def test_gradcheck(name: str) -> None:
    attention, arguments = example(name, "f64")
    small = {n: t[..., :7, :3].contiguous().requires_grad_() for n, t in arguments.items()}
    assert torch.autograd.gradcheck(lambda *given: attention(*given), tuple(small.values()))


WINDOW = """attention window
input Q[b, h, i, d], K[b, h, j, d], V[b, h, j, e], gate[b, h, i], start[b]: i32
S[b,h,i,j] += Q[b,h,i,d] * K[b,h,j,d]
X[b,h,i,j]  = S[b,h,i,j] / sqrt(size(d))  where start[b] <= j and j <= i - 3
P[b,h,i,j]  = softmax[j](X[b,h,i,j])
O[b,h,i,e] += P[b,h,i,j] * V[b,h,j,e]
R[b,h,i,e]  = gate[b,h,i] * O[b,h,i,e]
output R[b, h, i, e]
"""


def window(n: int, dtype: torch.dtype = torch.float64, d: int = 5) -> dict[str, Tensor]:
    torch.manual_seed(n)
    made = {name: torch.randn(2, 3, n, d, dtype=dtype) for name in "QKV"}
    return {
        **made,
        "gate": torch.randn(2, 3, n, dtype=dtype),
        "start": torch.tensor([0, n - 1], dtype=torch.int32),
    }


@pytest.mark.parametrize("n", [0, 1, 4, 65, 130])
def test_rows_without_keys(n: int) -> None:
    """The first rows see nothing, all of a batch nothing: their gradients are 0, never NaN."""
    attention = attn_dsl.compile(WINDOW)
    arguments = window(n)
    agree(attention, arguments, 1e-10)
    _, found = differentiated(attention, arguments)
    assert not any(g.isnan().any() for g in found.values())
    assert not n or (found["gate"][1] == 0).all() and (found["Q"][:, :, :3] == 0).all()


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_a_nan_that_no_row_sees_reaches_nothing(target: str) -> None:
    """The last three keys: neither the result nor a gradient knows them."""
    attention = attn_dsl.compile(WINDOW, target=target)
    arguments = window(40, torch.float32)
    (output,), clean = differentiated(attention, arguments)
    for name in "KV":
        arguments[name][:, :, -3:] = torch.nan
    (masked,), found = differentiated(attention, arguments)
    torch.testing.assert_close(masked, output)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, clean[name])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("d", [1, 17, 80])
def test_types_and_feature_sizes(dtype: torch.dtype, d: int) -> None:
    eps = torch.finfo(dtype).eps
    agree(attn_dsl.compile(WINDOW), window(66, dtype, d), tolerance=max(8 * eps, 2e-5))


def test_layouts() -> None:
    """Transposed and broadcast arguments, and an adjoint without strides."""
    attention = attn_dsl.compile(WINDOW)
    arguments = window(33, torch.float32)
    arguments["Q"] = arguments["Q"].mT.contiguous().mT
    arguments["K"] = arguments["K"][:, :1].expand(2, 3, 33, 5)
    agree(attention, arguments, 2e-5)
    leaf = arguments["V"].requires_grad_()
    attention(**arguments).sum().backward()
    assert leaf.grad is not None and leaf.grad.shape == leaf.shape


def test_only_what_is_wanted_is_computed() -> None:
    attention = attn_dsl.compile(WINDOW)
    arguments = window(20, torch.float32)
    arguments["gate"].requires_grad_()
    output = attention(**arguments)
    (gradient,) = torch.autograd.grad(output.square().sum(), arguments["gate"])
    expected = torch.autograd.grad(attention.reference(**arguments).square().sum(), arguments["gate"])[0]
    torch.testing.assert_close(gradient.double(), expected.double(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["positions/alibi", "positions/bucket_bias"])
def test_results_are_the_same_from_run_to_run(name: str) -> None:
    attention, arguments = example(name, "f32")
    runs = [differentiated(attention, arguments)[1] for _ in range(3)]
    assert all(torch.equal(run[n], runs[0][n]) for run in runs for n in run)


def test_a_new_length_compiles_nothing() -> None:
    attention = attn_dsl.compile(WINDOW)
    differentiated(attention, window(20, torch.float32))
    before = statistics.generated
    differentiated(attention, window(77, torch.float32))
    assert statistics.generated == before


def test_without_gradients_nothing_is_kept() -> None:
    attention = attn_dsl.compile(WINDOW)
    arguments = window(9, torch.float32)
    arguments["Q"].requires_grad_()
    with torch.no_grad():
        assert not attention(**arguments).requires_grad
    assert attention(**arguments).requires_grad


def test_what_cannot_be_differentiated_says_so_when_it_is_called() -> None:
    text = "attention first\ninput X[b, j]\nindex k < 4\nT[b, j // 8] max= X[b,j]\noutput T[b, k]\n"
    with pytest.raises(attn_dsl.NotLoweredError, match="T"):
        attn_dsl.compile(text)(torch.randn(2, 32, requires_grad=True))


def test_what_has_no_kernel_backward_says_so_when_it_is_called() -> None:
    """Found only as the kernels of the backward pass are planned."""
    text = """attention kernelised
input Q[b,i,d], K[b,j,d], V[b,j,e], R[f,d]
A[b,i,f] += Q[b,i,d] * R[f,d]
B[b,j,f] += K[b,j,d] * R[f,d]
S[b,i,j] += exp(A[b,i,f]) * exp(B[b,j,f])
O[b,i,e] += S[b,i,j] * V[b,j,e]
output O[b,i,e]
"""
    attention = attn_dsl.compile(text)
    arguments = [torch.randn(2, 5, 4) for _ in range(3)] + [torch.randn(6, 4).requires_grad_()]
    with pytest.raises(attn_dsl.NotLoweredError, match="no gradient: "):
        attention(*arguments)
    with torch.no_grad():
        assert attention(*arguments).shape == (2, 5, 4)
