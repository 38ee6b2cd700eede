"""What a program is specialised on, and what is known only at launch: counted, not believed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import attn_dsl
from attn_dsl.codegen import generate
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.planning import plan
from attn_dsl.runtime import cache
from attn_dsl.runtime.cache import Statistics

EXAMPLES = Path(__file__).parents[2] / "examples"
WINDOW = EXAMPLES / "masks" / "sliding_window.attn"
MILLION = 1 << 20


@pytest.fixture
def counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Statistics:
    """Counters of a fresh cache."""
    monkeypatch.setenv("ATTN_DSL_CACHE", str(tmp_path))
    found = Statistics()
    monkeypatch.setattr(cache, "statistics", found)
    monkeypatch.setattr("attn_dsl.runtime.attention.statistics", found)
    return found


def tensors(b: int, g: int, r: int, i: int, d: int = 8, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [torch.randn(b, g * r, i, d).to(dtype), *torch.randn(2, b, g, i, d).to(dtype)]


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_lengths_batches_heads_and_strides_compile_nothing(counts: Statistics, target: str) -> None:
    attention = attn_dsl.compile(WINDOW, target=target, window=5)
    calls = [
        tensors(1, 1, 1, 7),
        tensors(2, 1, 1, 7),
        tensors(1, 2, 2, 33),
        tensors(1, 1, 3, 2),
    ]
    calls.append([t.transpose(1, 2).contiguous().transpose(1, 2) for t in tensors(2, 3, 1, 9)])
    calls.append([t[..., ::2] for t in tensors(1, 1, 1, 7, d=16)])
    calls.append([t.expand(3, -1, -1, -1) for t in tensors(1, 1, 1, 7)])
    for arguments in calls:
        expected = attention.reference(*arguments)
        torch.testing.assert_close(attention(*arguments).double(), expected, atol=1e-5, rtol=1e-5)
    assert counts.generated == 1
    assert counts.disk_hits == 0


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_one_query_has_programs_of_its_own(counts: Statistics, target: str) -> None:
    """One where heads share its keys, one where none do; no query at all is like one."""
    attention = attn_dsl.compile(WINDOW, target=target, window=5)
    for shape in ((1, 1, 3, 1), (2, 2, 4, 1), (1, 1, 1, 1), (3, 2, 1, 1), (1, 1, 1, 0)):
        arguments = tensors(*shape)
        expected = attention.reference(*arguments)
        torch.testing.assert_close(attention(*arguments).double(), expected, atol=1e-5, rtol=1e-5)
    assert counts.generated == 2


def test_a_param_that_only_bounds_a_range_compiles_nothing(counts: Statistics) -> None:
    for window in (1, 5, 1000):
        attn_dsl.compile(WINDOW, window=window)(*tensors(1, 1, 1, 7))
    assert counts.generated == 1


def test_what_changes_the_code_is_compiled(counts: Statistics) -> None:
    attention = attn_dsl.compile(WINDOW)
    attention(*tensors(1, 1, 1, 7))
    attention(*tensors(1, 1, 1, 7, d=16))
    attention(*tensors(1, 1, 1, 7, dtype=torch.bfloat16))
    assert counts.generated == 3


def test_a_change_of_one_argument_s_strides_is_seen(counts: Statistics) -> None:
    """The fast way to a known call goes by the strides too."""
    attention = attn_dsl.compile(WINDOW, window=3)
    arguments = tensors(1, 1, 1, 7)
    attention(*arguments)
    arguments[1] = arguments[1].transpose(2, 3).contiguous().transpose(2, 3)
    expected = attention.reference(*arguments)
    torch.testing.assert_close(attention(*arguments).double(), expected, atol=1e-5, rtol=1e-5)


def test_lengths_read_from_a_tensor_are_read_anew(counts: Statistics) -> None:
    """The sizes of such a call follow from the values of its arguments."""
    attention = attn_dsl.compile(EXAMPLES / "cache" / "lengths.attn")
    q, k, v = tensors(2, 1, 1, 7)
    for length in ([3, 7], [7, 1], [0, 2]):
        given = (q, k, v, torch.tensor(length, dtype=torch.int32))
        torch.testing.assert_close(
            attention(*given).double(), attention.reference(*given), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("architecture", ["cpu", "cuda:90"])
def test_a_window_over_a_million_tokens_needs_nothing_but_inputs_and_outputs(architecture: str) -> None:
    """No buffer besides the outputs, and no argument that is not an input, an output or a number."""
    attention = attn_dsl.compile(WINDOW)
    spec = Specialisation(tuple((n, "f32") for n in "QKV"), (("d", 64), ("e", 64)), architecture)
    program = generate(plan(attention.cascade, attention.params), spec)
    assert [b.name for b in program.buffers if not b.is_output] == []
    assert [b.axes for b in program.buffers] == [(("b",), ("g", "r"), ("i",), ("e",))]


def test_a_window_over_a_million_tokens_runs_in_their_memory(counts: Statistics) -> None:
    """Peak memory of the process grows by no more than the output, where a block mask alone would take
    gigabytes."""
    import resource

    attention = attn_dsl.compile(WINDOW, window=64)
    q, k, v = (torch.randn(1, 1, MILLION, 8) for _ in range(3))
    attention(q[:, :, :100], k[:, :, :100], v[:, :, :100])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out = attention(q, k, v)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < out.numel() * out.element_size() + (16 << 20)
    last = attention.reference(q[:, :, -200:], k[:, :, -200:], v[:, :, -200:])[:, :, -100:]
    torch.testing.assert_close(out[:, :, -100:].double(), last, atol=1e-5, rtol=1e-5)
