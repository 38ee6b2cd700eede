"""The ladder of schedules: what spills, or what the compiler fails at, gives way to the next."""

from __future__ import annotations

import pytest

import attn_dsl
from attn_dsl.errors import Diagnostic, TargetError
from attn_dsl.runtime import fitting
from attn_dsl.runtime.ahead_of_time import KernelResources
from attn_dsl.runtime.cache import Entry
from tests.examples.cases import EXAMPLES


def _resources(entry: Entry, spilled: int) -> tuple[KernelResources, ...]:
    (kernel,) = entry.program.kernels
    return (
        KernelResources(kernel.name, "cuda:90", 255, spilled, 0, kernel.num_warps, kernel.num_stages, ()),
    )


def _built(monkeypatch: pytest.MonkeyPatch, lower: object) -> Entry:
    monkeypatch.setattr(fitting, "lower", lower)
    attention = attn_dsl.compile(EXAMPLES / "basic" / "dense.attn")
    dtypes = (("Q", "bf16"), ("K", "bf16"), ("V", "bf16"))
    kernels = attention.kernels
    sizes = {"d": 64, "e": 64}
    return kernels.entry(kernels.wanted(dtypes, sizes, "cuda:90"), sizes)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("ATTN_DSL_CACHE", str(tmp_path))


def test_a_schedule_at_which_the_compiler_fails_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def lower(entry: Entry, architecture: str) -> tuple[KernelResources, ...]:
        asked.append(dict(entry.program.kernels[0].constants)["BLOCK_J"])
        if len(asked) == 1:
            raise TargetError(Diagnostic("Triton cannot compile it"))
        return _resources(entry, 0)

    _built(monkeypatch, lower)
    assert len(asked) == 2 and asked[1] <= asked[0]


def test_what_no_schedule_compiles_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def lower(entry: Entry, architecture: str) -> tuple[KernelResources, ...]:
        raise TargetError(Diagnostic("Triton cannot compile it"))

    with pytest.raises(TargetError, match="Triton cannot compile it"):
        _built(monkeypatch, lower)


def test_the_least_spilling_schedule_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def lower(entry: Entry, architecture: str) -> tuple[KernelResources, ...]:
        asked.append(entry.program.kernels[0].constants)
        return _resources(entry, 8 if len(asked) == 3 else 64)

    (kernel,) = _built(monkeypatch, lower).program.kernels
    assert len(asked) > 3 and kernel.constants == asked[2]
