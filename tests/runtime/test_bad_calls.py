"""What a user can get wrong in a call, and how it is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import attn_dsl

GOLDEN = Path(__file__).parents[1] / "golden" / "calls"
GROUPED = """attention grouped
param window: int
param cap: float = 50.0
input Q[b, (g r), i, d], K[b, g, j, d], V[b, g, j, e], start[b]: i32, tau
S[b,g,r,i,j] += Q[b,g,r,i,d] * K[b,g,j,d]
X[b,g,r,i,j]  = cap * tanh(tau * S[b,g,r,i,j] / cap)  where start[b] <= j and i - j < window
P[b,g,r,i,j]  = softmax[j](X[b,g,r,i,j])
O[b,g,r,i,e] += P[b,g,r,i,j] * V[b,g,j,e]
output O[b, (g r), i, e]
"""
Call = Callable[[], Any]


def call(**changes: Any) -> Call:
    """A call that is right but for the changes; None leaves an argument out."""
    tensors: dict[str, Any] = {
        "Q": torch.zeros(2, 4, 5, 8), "K": torch.zeros(2, 2, 6, 8), "V": torch.zeros(2, 2, 6, 3),
        "start": torch.zeros(2, dtype=torch.int32), "tau": 1.0,
    }  # fmt: skip
    given = {name: value for name, value in {**tensors, **changes}.items() if value is not None}
    return lambda: attn_dsl.compile(GROUPED, window=4)(**given)


def compiled(*args: Any, **params: Any) -> Call:
    return lambda: attn_dsl.compile(*args, **params)


CALLS: dict[str, Call] = {
    "rank": call(Q=torch.zeros(2, 4, 8)),
    "dtype_of_a_declared_input": call(start=torch.zeros(2)),
    "integer_where_real": call(Q=torch.zeros(2, 4, 5, 8, dtype=torch.int64)),
    "complex": call(Q=torch.zeros(2, 4, 5, 8, dtype=torch.complex64)),
    "not_a_tensor": call(K=[[1.0]]),
    "string_scalar": call(tau="hot"),
    "missing": call(V=None),
    "unknown": call(W=torch.zeros(2)),
    "disagreeing_features": call(K=torch.zeros(2, 2, 6, 7)),
    "disagreeing_lengths": call(V=torch.zeros(2, 2, 5, 3)),
    "composite_not_divisible": call(Q=torch.zeros(2, 5, 5, 8)),
    "other_device": call(K=torch.zeros(2, 2, 6, 8, device="meta")),
    "nested": lambda: call(K=torch.nested.nested_tensor([torch.zeros(2, 6, 8)] * 2))(),
    "jagged": lambda: call(
        K=torch.nested.nested_tensor([torch.zeros(6, 8), torch.zeros(3, 8)], layout=torch.jagged)
    )(),
    "fp8": call(Q=torch.zeros(2, 4, 5, 8, dtype=torch.float8_e4m3fn)),
    "sparse": call(K=torch.zeros(2, 2, 6, 8).to_sparse()),
    "too_many": lambda: attn_dsl.compile(GROUPED, window=4)(*[torch.zeros(1)] * 6),
    "twice": lambda: attn_dsl.compile(GROUPED, window=4)(torch.zeros(1), Q=torch.zeros(1)),
    "param_without_default": compiled(GROUPED),
    "param_unknown": compiled(GROUPED, windw=4),
    "param_of_another_type": compiled(GROUPED, window=4.5),
    "target_unknown": compiled(GROUPED, window=4, target="cuda"),
    "file_missing": compiled("nowhere.attn"),
    "directory": compiled(Path(".")),
    "text_without_newline": compiled("attention a"),
    "schedule_of_another_type": compiled(GROUPED, window=4, schedule=64),
    "schedule_of_an_odd_tile": compiled(GROUPED, window=4, schedule=attn_dsl.Schedule(row_tile=24)),
    "schedule_of_a_small_tile": compiled(GROUPED, window=4, schedule=attn_dsl.Schedule(stream_tile=8)),
    "schedule_of_three_warps": compiled(GROUPED, window=4, schedule=attn_dsl.Schedule(num_warps=3)),
    "schedule_of_no_stage": compiled(GROUPED, window=4, schedule=attn_dsl.Schedule(num_stages=0)),
    "architecture_without_a_compiler": lambda: attn_dsl.compile(GROUPED, window=4).lower("cuda:999"),
    "architecture_of_amd_unknown": lambda: attn_dsl.compile(GROUPED, window=4).lower("hip:gfx9999"),
    "dtype_unknown": lambda: attn_dsl.compile(GROUPED, window=4).source(dtype="bfloat17"),
    "dtype_of_integers": lambda: attn_dsl.compile(GROUPED, window=4).lower("cuda:90", dtype=torch.int32),
    "architecture_unknown": lambda: attn_dsl.compile(GROUPED, window=4).lower("cuda90"),
    "size_unknown": lambda: attn_dsl.compile(GROUPED, window=4).source(f=64),
    "source_of_no_target": lambda: attn_dsl.compile(GROUPED, window=4).source(target="metal"),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_message(name: str, golden: Callable[[Path, str], None]) -> None:
    with pytest.raises(attn_dsl.AttnError) as caught:
        CALLS[name]()
    golden(GOLDEN / f"{name}.txt", f"{type(caught.value).__name__}\n{caught.value}\n")


def test_the_call_they_change_is_right() -> None:
    assert call()().shape == (2, 4, 5, 3)


def test_a_refused_architecture_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for architecture in ("cuda:999", "hip:gfx9999"):
        with pytest.raises(attn_dsl.TargetError):
            attn_dsl.compile(GROUPED, window=4).lower(architecture)
    assert capfd.readouterr() == ("", "")


def test_a_dtype_has_two_names() -> None:
    attention = attn_dsl.compile(GROUPED, window=4)
    assert attention.source(dtype="bf16") == attention.source(dtype=torch.bfloat16)
