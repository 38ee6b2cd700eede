"""What torch's tools see of a call: operations, ranges of the profiler, the log."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import attn_dsl
from tests.examples.cases import EXAMPLES
from tests.runtime.called import example, leaves

CAUSAL = """attention causal_once
input Q[i, d], K[j, d], V[j, e]
S[i,j] += Q[i,d] * K[j,d]  where j <= i
P[i,j]  = softmax[j](S[i,j])
O[i,e] += P[i,j] * V[j,e]
output O[i, e]
"""


def test_the_counter_of_operations_sees_live_elements() -> None:
    attention = attn_dsl.compile(CAUSAL)
    q = torch.randn(10, 8)
    with FlopCounterMode(display=False) as counter:
        attention(q, q, q)
    assert counter.get_total_flops() == 2 * 55 * (8 + 8)
    with FlopCounterMode(display=False) as counter:
        torch.func.vmap(attention)(*[q.expand(3, -1, -1)] * 3)
    assert counter.get_total_flops() == 3 * 2 * 55 * (8 + 8)


def test_the_counter_sees_the_backward_pass_and_data() -> None:
    attention, arguments = example("masks/documents")
    given = leaves(arguments)
    with FlopCounterMode(display=False) as counter:
        attention(*given).sum().backward()
    live = (torch.ones(29, 29).tril() * (arguments[3][:, :, None] == arguments[3][:, None, :])).sum().item()
    found = {str(op).split("_")[-1]: n for op, n in counter.get_flop_counts()["Global"].items()}
    assert found["forward"] == 6 * live * 2 * (6 + 5)
    assert found["backward"] >= 2 * found["forward"]


def test_the_counter_may_be_imported_last() -> None:
    program = (
        "import sys, torch, attn_dsl; attention = attn_dsl.compile(sys.argv[1]); q = torch.randn(2, 3, 5, 4)\n"
        "assert 'torch.utils.flop_counter' not in sys.modules\n"
        "from torch.utils.flop_counter import FlopCounterMode\n"
        "with FlopCounterMode(display=False) as counter: attention(q, q, q)\n"
        "assert counter.get_total_flops() == 6 * 25 * 2 * 8"
    )
    subprocess.run([sys.executable, "-c", program, str(EXAMPLES / "basic" / "dense.attn")], check=True)


@pytest.mark.parametrize("again", [False, True])
def test_the_profiler_shows_the_name_of_the_file(again: bool) -> None:
    attention, arguments = example("masks/documents")
    given = leaves(arguments)
    if again:
        attention(*arguments)
    with torch.profiler.profile() as profile:
        attention(*arguments)
        attention(*given).sum().backward()
    names = [event.name for event in profile.events()]
    assert names.count("attn_dsl::documents") >= 2
    assert any(n.startswith("attn_dsl::documents") and n != "attn_dsl::documents" for n in names)


def test_the_log_tells_what_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ATTN_DSL_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.DEBUG, logger="attn_dsl")
    q = torch.randn(2, 3, 5, 4)
    for _ in range(2):
        attn_dsl.compile(EXAMPLES / "basic" / "dense.attn")(q, q, q)
    built, read = (r for r in caplog.records if r.name == "attn_dsl")
    assert built.levelno == logging.INFO and "dense for cpu (Q: f32, K: f32, V: f32, " in built.getMessage()
    assert read.levelno == logging.DEBUG and "read from" in read.getMessage()


def test_the_package_lists_what_it_has() -> None:
    assert {"compile", "Attention", "nn", "transformers"} <= {*dir(attn_dsl)}
    assert (Path(attn_dsl.__file__).parent / "py.typed").exists()
