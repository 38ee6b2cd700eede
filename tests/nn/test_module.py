"""A mechanism as a torch module: what it holds, how it is called, copied, saved and moved."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

import attn_dsl

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "modules"
TEXT = """attention biased
param cap: float = 30.0
input Q[b, (g r), i, d], K[b, g, j, d], V[b, g, j, e], slope[(g r)], far[_]: f32, start[b]: i32, training
S[b,g,r,i,j] += Q[b,g,r,i,d] * K[b,g,j,d]
B[b,g,r,i,j]  = S[b,g,r,i,j] - slope[g,r] * abs(i - j) + default(far[abs(i - j)], 0.0)
X[b,g,r,i,j]  = softcap(B[b,g,r,i,j], cap)  where j >= start[b]
P[b,g,r,i,j]  = softmax[j](X[b,g,r,i,j])
O[b,g,r,i,e] += P[b,g,r,i,j] * V[b,g,j,e] * training
output O[b, (g r), i, e]
"""
SINK = ROOT / "examples" / "normalisers" / "sink_logits.attn"


def module(**changes: Any) -> attn_dsl.nn.Attention:
    given: dict[str, Any] = {
        "learn": {"slope": torch.linspace(0.1, 1, 4)},
        "hold": {"far": torch.linspace(-1, 1, 9), "start": torch.tensor([0, 2], dtype=torch.int32)},
    }
    return attn_dsl.nn.Attention(TEXT.replace("training", "gain"), **{**given, **changes})


def operands(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 4, 5, 8), (2, 2, 6, 8), (2, 2, 6, 3))
    return tuple(torch.randn(s, generator=generator).to(dtype) for s in shapes)


def test_it_computes_the_attention_of_what_it_holds_and_is_given() -> None:
    q, k, v = operands()
    attend = module()
    direct = attend.attention(q, k, v, attend.slope, attend.far, attend.start, torch.tensor(2.0))
    assert torch.equal(attend(q, k, v, 2.0), direct)
    assert torch.equal(attend(gain=2.0, V=v, K=k, Q=q), direct)
    assert torch.equal(attend(q, k, gain=2.0, V=v), direct)


def test_parameters_learn_and_buffers_do_not() -> None:
    attend = attn_dsl.nn.Attention(SINK, learn={"sink": torch.zeros(4)}, window=3)
    q, k, v = operands()
    assert dict(attend.named_parameters()).keys() == {"sink"}
    before = attend(q, k, v)
    optimizer = torch.optim.SGD(attend.parameters(), lr=1.0)
    before.square().sum().backward()
    optimizer.step()
    assert attend(q, k, v).square().sum() < before.square().sum()
    assert [n for n, _ in module().named_buffers()] == ["far", "start"]


class _Doubled(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value * 2


class _Counting(attn_dsl.nn.Attention):
    """A module with a buffer that is none of the file's inputs."""

    def __init__(self) -> None:
        super().__init__(SINK, learn={"sink": torch.ones(4)}, window=3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))


def _expected(sink: torch.Tensor) -> torch.Tensor:
    return attn_dsl.compile(SINK, window=3)(*operands(), sink)


def test_a_parameter_may_be_computed() -> None:
    attend = attn_dsl.nn.Attention(SINK, learn={"sink": torch.ones(4)}, window=3)
    parametrize.register_parametrization(attend, "sink", _Doubled())
    assert torch.equal(attend(*operands()), _expected(torch.full((4,), 2.0)))
    assert "learned: sink (4,)" in repr(attend)
    attend(*operands()).square().sum().backward()
    assert attend.parametrizations.sink.original.grad.abs().min() > 0
    pruned = attn_dsl.nn.Attention(SINK, learn={"sink": torch.ones(4)}, window=3)
    prune.custom_from_mask(pruned, "sink", torch.tensor([1, 0, 1, 0]))
    assert torch.equal(pruned(*operands()), _expected(torch.tensor([1.0, 0.0, 1.0, 0.0])))


def test_what_is_none_of_the_inputs_is_left_alone() -> None:
    attend = _Counting()
    assert torch.equal(attend(*operands()), _expected(torch.ones(4)))
    del attend.sink  # a plain tensor in place of the parameter, as flat parameters leave it
    attend.sink = torch.zeros(4)
    assert torch.equal(attend(*operands()), _expected(torch.zeros(4)))


def test_a_parameter_may_be_shared() -> None:
    shared = nn.Parameter(torch.zeros(4))
    pair = nn.ModuleList(attn_dsl.nn.Attention(SINK, learn={"sink": shared}) for _ in range(2))
    assert len(list(pair.parameters())) == 1


def test_copies_and_saved_modules_give_the_same() -> None:
    attend, (q, k, v) = module(), operands()
    expected = attend(q, k, v, 1.0)
    expected.sum().backward()  # kernels of both passes are loaded; they are not copied
    saved = io.BytesIO()
    torch.save(attend, saved)
    saved.seek(0)
    for other in (copy.deepcopy(attend), torch.load(saved, weights_only=False)):
        assert torch.equal(other(q, k, v, 1.0), expected)
        assert other.slope is not attend.slope
    state = {n: t + 1 for n, t in attend.state_dict().items()}
    assert state.keys() == {"slope", "far", "start"}
    attend.load_state_dict(state)
    assert torch.equal(attend.start, torch.tensor([1, 3], dtype=torch.int32))


def test_a_move_keeps_what_the_file_declares() -> None:
    attend = module().to(torch.bfloat16)  # far is declared f32, start i32
    assert attend.slope.dtype == torch.bfloat16
    assert attend.start.dtype == torch.int32
    assert attend(*operands(torch.bfloat16), 1.0).isfinite().all()
    assert attend.to("meta").slope.device.type == "meta"


def test_it_is_printed_as_it_is_called() -> None:
    assert repr(attn_dsl.nn.Attention(SINK, learn={"sink": torch.zeros(4)})) == (
        "Attention(\n"
        "  sink_logits(Q[b, (g r), i, d], K[b, g, j, d], V[b, g, j, e], sink[(g r)]), window=128\n"
        "  learned: sink (4,)\n"
        ")"
    )


WRONG: dict[str, Callable[[], Any]] = {
    "unknown": lambda: module(learn={"slopes": torch.zeros(4)}),
    "rank": lambda: module(learn={"slope": torch.zeros(4, 1)}),
    "size": lambda: module(learn={"slope": torch.zeros(5)})(*operands(), 1.0),
    "not_a_tensor": lambda: module(learn={"slope": (4,)}),
    "integers_do_not_learn": lambda: module(learn={"start": torch.zeros(2, dtype=torch.int32)}, hold={}),
    "held_dtype": lambda: module(hold={"start": torch.zeros(2, dtype=torch.int64)}),
    "learned_and_held": lambda: module(hold={"slope": torch.zeros(4)}),
    "name_of_a_module": lambda: attn_dsl.nn.Attention(TEXT, hold={"training": torch.tensor(1.0)}),
    "params_of_a_compiled_one": lambda: attn_dsl.nn.Attention(attn_dsl.compile(SINK), window=3),
    "missing": lambda: module()(*operands()),
    "too_many": lambda: module()(*operands(), 1.0, 1.0),
    "twice": lambda: module()(*operands(), 1.0, Q=operands()[0]),
    "held_and_given": lambda: module()(*operands(), 1.0, slope=torch.zeros(4)),
    "unknown_argument": lambda: module()(*operands(), gian=1.0),
}


@pytest.mark.parametrize("name", WRONG)
def test_message(name: str, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(attn_dsl.AttnError) as caught:
        WRONG[name]()
    text = str(caught.value).replace(f"{ROOT}/", "")
    golden(GOLDEN / f"{name}.txt", f"{type(caught.value).__name__}\n{text}\n")


def test_neither_module_is_loaded_before_it_is_used() -> None:
    check = "import sys, attn_dsl; assert not {'torch', 'transformers', 'attn_dsl.nn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT)
