"""Every attention is an operator of torch: registered rightly, and under a name that is the same
everywhere."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import attn_dsl
from tests.examples.cases import EXAMPLES
from tests.runtime.called import assert_agree, example, gradients, leaves, loss, reals

TEMPERED = """attention tempered
input Q[b, h, i, d], K[b, h, j, d], V[b, h, j, e], tau
S[b,h,i,j] += Q[b,h,i,d] * K[b,h,j,d]
P[b,h,i,j]  = softmax[j](tau * S[b,h,i,j])
O[b,h,i,e] += P[b,h,i,j] * V[b,h,j,e]
output O[b, h, i, e]
"""
MEANT = """attention meant
input x[i, d]: f32, y[i, d]
O[i,d] = x[i,d] + y[i,d]
output O[i, d]
"""


# registration


@pytest.mark.parametrize("name", ["heads/grouped_query", "masks/documents", "cache/column_sums"])
def test_registration(name: str) -> None:
    """By torch's own checks: schema, autograd, shapes of tracing, and compilation with dynamic sizes against
    eager."""
    attention, arguments = example(name)
    opcheck(attention.operator, tuple(leaves(arguments)))


def test_registration_without_gradients() -> None:
    attention, arguments = example("positions/relative_logits")
    opcheck(attention.operator, tuple(arguments))


@pytest.mark.parametrize("name", ["heads/grouped_query", "cache/column_sums"])
def test_registration_of_the_passes(name: str) -> None:
    """The operators that keep and that differentiate, too."""
    attention, arguments = example(name)
    forward, backward, tangents = (
        getattr(torch.ops.attn_dsl, f"{attention.operator._opname}_{pass_}").default
        for pass_ in ("forward", "backward", "tangents")
    )
    wanted = list(reals(arguments))
    utils = ("test_schema", "test_faketensor")
    opcheck(forward, (arguments, wanted, []), test_utils=utils)
    found = forward(arguments, wanted, [])
    adjoints = [torch.ones_like(t) for t in found[: len(attention.cascade.outputs)]]
    opcheck(backward, (arguments, found, adjoints, wanted, []), test_utils=utils)
    opcheck(tangents, (arguments, [arguments[at] for at in wanted], wanted, []), test_utils=utils)


def test_names_are_the_same_in_every_process() -> None:
    program = "import sys, attn_dsl; print(attn_dsl.compile(sys.argv[1], window=7).operator.name())"
    path = str(EXAMPLES / "masks" / "sliding_window.attn")
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == attn_dsl.compile(path, window=7).operator.name()


def test_what_differs_has_another_name() -> None:
    path = EXAMPLES / "masks" / "sliding_window.attn"
    schedule = attn_dsl.Schedule(row_tile=16)
    different = [
        attn_dsl.compile(path, window=7),
        attn_dsl.compile(path, window=8),
        attn_dsl.compile(path, window=7, target="cpu"),
        attn_dsl.compile(path, window=7, schedule=schedule),
    ]
    assert len({a.operator.name() for a in different}) == len(different)
    assert attn_dsl.compile(path, window=7).operator is different[0].operator


def test_copies_have_the_operator() -> None:
    attention, arguments = example("masks/documents")
    for other in (copy.deepcopy(attention), pickle.loads(pickle.dumps(attention))):
        assert other.operator is attention.operator
        assert_agree([other(*arguments)], [attention(*arguments)])


# who sees a call


class _Seen(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def test_dispatch_modes_see_calls() -> None:
    attention, arguments = example("heads/grouped_query")
    attention(*arguments)  # a call that has been met before goes another way
    with _Seen() as seen:
        attention(*arguments)
    assert seen.names == [attention.operator.name()]


def test_tensors_without_data_have_results_without_data() -> None:
    attention, arguments = example("heads/grouped_query")
    mode = FakeTensorMode()
    result = attention(*(mode.from_tensor(t) for t in arguments))
    assert type(result).__name__ == "FakeTensor" and result.shape == attention(*arguments).shape


@pytest.mark.parametrize("name", ["heads/grouped_query", "cache/column_sums"])
def test_meta_tensors_have_meta_results(name: str) -> None:
    attention, arguments = example(name)
    given = [t.to("meta").requires_grad_(t.is_floating_point()) for t in arguments]
    results, expected = (
        r if isinstance(r, tuple) else (r,) for r in (attention(*given), attention(*arguments))
    )
    assert [(r.device.type, r.shape, r.dtype) for r in results] == [
        ("meta", e.shape, e.dtype) for e in expected
    ]
    results[0].sum().backward()
    assert given[0].grad is not None and given[0].grad.shape == given[0].shape


def test_numbers_are_as_wide_as_the_call() -> None:
    attention = attn_dsl.compile(TEMPERED)
    q = torch.randn(1, 2, 5, 4, dtype=torch.float64)
    wide = attention(q, q, q, torch.tensor(0.1, dtype=torch.float64))
    assert torch.equal(attention(q, q, q, 0.1), wide)
    assert torch.equal(
        attention.reference(q, q, q, 0.1),
        attention.reference(q, q, q, torch.tensor(0.1, dtype=torch.float64)),
    )
    assert torch.equal(torch.compile(attention, backend="eager")(q, q, q, 0.1), wide)
    with torch.autocast("cpu"):
        assert torch.equal(attention(q, q, q, 0.1), wide)


# checkpoints


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", ["masks/documents", "cache/column_sums"])
def test_checkpoints(name: str, reentrant: bool) -> None:
    attention, arguments = example(name)
    found = gradients(lambda *given: checkpoint(attention, *given, use_reentrant=reentrant), arguments)
    assert_agree(found, gradients(attention, arguments), 0)


# autocast


@pytest.mark.parametrize(
    ("name", "dtype"), [("cache/lengths", torch.bfloat16), ("masks/documents", torch.float16)]
)
def test_autocast(name: str, dtype: torch.dtype) -> None:
    """As if the floating arguments had been given in the dtype of the region."""
    attention, arguments = example(name, "f32")
    cast = [t.to(dtype) if t.is_floating_point() else t for t in arguments]
    expected = attention(*cast)
    with torch.autocast("cpu", dtype):
        found = attention(*arguments)
        attention_gradients = gradients(attention, arguments)
    found, expected = (r if isinstance(r, tuple) else (r,) for r in (found, expected))
    assert found[0].dtype == dtype
    assert_agree(found, expected, 0)
    assert all(g.dtype == torch.float32 for g in attention_gradients[1:])
    given = leaves(cast)
    expected = torch.autograd.grad(loss(attention)(*given), [given[at] for at in reals(given)])
    assert_agree(attention_gradients[1:], [g.float() for g in expected], 0)


def test_autocast_leaves_f64_and_gives_declared_inputs_their_dtype() -> None:
    attention, arguments = example("heads/grouped_query", "f64")
    meant = attn_dsl.compile(MEANT)
    x = torch.randn(3, 4)
    with torch.autocast("cpu"):
        assert attention(*arguments).dtype == torch.float64
        given = meant(x.bfloat16(), x)
    assert_agree([given], [meant(x.bfloat16().float(), x.bfloat16())], 0)


def test_autocast_casts_numbers() -> None:
    attention = attn_dsl.compile(TEMPERED)
    q = torch.randn(1, 2, 5, 4)
    with torch.autocast("cpu"):
        found = attention(q, q, q, 0.3)
    half = q.bfloat16()
    assert_agree([found], [attention(half, half, half, torch.tensor(0.3).bfloat16())], 0)
    assert found.dtype == torch.bfloat16


# graphs of a GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_call_can_be_captured() -> None:
    """Forward and backward in a CUDA graph, replayed on other values, with a number and a scalar tensor."""
    attention = attn_dsl.compile(TEMPERED)
    q, k, v = (torch.randn(1, 2, 64, 16, device="cuda").requires_grad_() for _ in range(3))

    def step() -> tuple[Tensor, ...]:
        result = attention(q, k, v, 0.3)
        return result, *torch.autograd.grad(result.square().sum(), (q, k, v))

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        q.mul_(2)
    graph.replay()
    assert_agree(captured, step())
