"""Native kernels and their compiler: threads, none to be found, one that fails, sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import attn_dsl
from attn_dsl.runtime.cache import entries
from attn_dsl.runtime.native import find_compiler

ROOT = Path(__file__).parents[2]
PLAIN = """attention plain
input Q[b, i, d], K[b, j, d], V[b, j, e]
S[b,i,j] += Q[b,i,d] * K[b,j,d]
P[b,i,j]  = softmax[j](S[b,i,j])  where j <= i
O[b,i,e] += P[b,i,j] * V[b,j,e]
n[b,i]   += 1  where P[b,i,j] > 0.5
output O[b, i, e], n[b, i]
"""


@pytest.fixture
def arguments() -> list[torch.Tensor]:
    torch.manual_seed(4)
    return [torch.randn(3, 200, 16) for _ in range(3)]


@pytest.mark.parametrize("threads", [1, 2, 13])
def test_any_number_of_threads_gives_the_same_bits(arguments: list[torch.Tensor], threads: int) -> None:
    attention = attn_dsl.compile(PLAIN, target="cpu")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = attention(*arguments)
        torch.set_num_threads(threads)
        together = attention(*arguments)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ATTN_DSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)


@pytest.mark.usefixtures("no_compiler")
def test_small_sizes_without_a_compiler(arguments: list[torch.Tensor]) -> None:
    attention = attn_dsl.compile(PLAIN)
    given = [a.to(torch.bfloat16) for a in arguments]
    with pytest.warns(UserWarning, match="no C\\+\\+ compiler"):
        out, count = attention(*given)
    assert (out.dtype, count.dtype) == (torch.bfloat16, torch.int64)
    torch.testing.assert_close(out.double(), attention.reference(*given)[0], atol=2e-2, rtol=2e-2)


@pytest.mark.usefixtures("no_compiler")
def test_large_sizes_without_a_compiler_are_refused() -> None:
    q = torch.zeros(1, 5000, 1)
    with pytest.raises(attn_dsl.TargetError, match="too many for the dense reference") as caught:
        attn_dsl.compile(PLAIN)(q, q, q)
    assert "CXX=" in str(caught.value)


@pytest.mark.usefixtures("no_compiler")
def test_the_native_target_by_name_needs_a_compiler(arguments: list[torch.Tensor]) -> None:
    with pytest.raises(attn_dsl.TargetError, match="no C\\+\\+ compiler was found"):
        attn_dsl.compile(PLAIN, target="cpu")(*arguments)


def test_a_compiler_that_fails_is_quoted(
    arguments: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATTN_DSL_CACHE", str(tmp_path))
    monkeypatch.setenv("ATTN_DSL_CXXFLAGS", "-fno-such-flag")
    with pytest.raises(attn_dsl.TargetError, match="no-such-flag"):
        attn_dsl.compile(PLAIN, target="cpu")(*arguments)


SCRIPTS = {
    "ends well and leaves nothing": "exit 0",
    "leaves an empty file": 'for last; do :; done; : > "$last"',
    "leaves a text": 'for last; do :; done; echo no object > "$last"',
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_compiler_that_leaves_no_object_does_not_fill_the_cache(
    arguments: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str
) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text(f"#!/bin/sh\n{SCRIPTS[script]}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("ATTN_DSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(compiler))
    for _ in range(2):
        with pytest.raises(attn_dsl.TargetError, match="left no shared object"):
            attn_dsl.compile(PLAIN, target="cpu")(*arguments)
    assert not entries()


def test_a_compiler_of_two_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    alone = find_compiler()
    assert alone is not None
    monkeypatch.setenv("ATTN_DSL_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", f"env '{alone[0]}' -DATTN_A_FLAG")
    found = find_compiler()
    assert found is not None
    assert found[1:] == (alone[0], "-DATTN_A_FLAG")
    small = [torch.randn(1, 5, 4) for _ in range(3)]
    out, _ = attn_dsl.compile(PLAIN, target="cpu")(*small)
    assert out.shape == (1, 5, 4)


def test_a_compiler_that_is_blank_is_none_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    alone = find_compiler()
    monkeypatch.setenv("CXX", " ")
    assert find_compiler() == alone


@pytest.mark.parametrize("variable", ["CXX", "ATTN_DSL_CXXFLAGS"])
def test_a_quotation_that_is_not_closed(
    arguments: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.setenv("ATTN_DSL_CACHE", str(tmp_path))
    monkeypatch.setenv(variable, "g++ 'unbalanced")
    with pytest.raises(attn_dsl.TargetError, match=f"{variable}=g.. 'unbalanced cannot be read"):
        attn_dsl.compile(PLAIN, target="cpu")(*arguments)


def test_what_is_prepared_for_shapes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attn_dsl.runtime.kernels.MOST_SHAPES", 3)
    attention = attn_dsl.compile(PLAIN, target="cpu")
    for length in (*range(1, 9), 1):
        q = torch.randn(1, length, 4)
        out, _ = attention(q, q, q)
        assert out.shape == (1, length, 4)
    assert len(attention.kernels._prepared) == 3


SANITIZED = """
import sys, torch
from attn_dsl.testing.checking import failure
from tests.examples.test_kernels import LOWERED, compiled, small_call
first, step = map(int, sys.argv[1:])
for name in LOWERED[first::step]:
    attention = compiled(name, "cpu")
    report = failure(attention, small_call(attention, name, "f32"))
    assert not report, report
print("clean")
"""


def sanitized(first: int, step: int, cache: Path) -> None:
    """Run every step-th example's native kernels under the address and undefined-behaviour sanitizers."""
    compiler = find_compiler()
    assert compiler is not None
    libraries = [
        subprocess.run(
            [*compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    if any(not Path(path).is_absolute() for path in libraries):
        pytest.skip("the compiler has no sanitizers")
    environment = {
        **os.environ, "LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1", "ATTN_DSL_CACHE": str(cache), "PYTHONPATH": str(ROOT),
        "ATTN_DSL_CXXFLAGS": "-O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer",
    }  # fmt: skip
    command = [sys.executable, "-c", SANITIZED, str(first), str(step)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "clean"


def test_a_few_examples_are_clean_under_sanitizers(tmp_path: Path) -> None:
    sanitized(3, 16, tmp_path)


@pytest.mark.slow
def test_every_example_is_clean_under_sanitizers(tmp_path: Path) -> None:
    sanitized(0, 1, tmp_path)


RACE = """#include <cstdint>
extern "C" void kernel(int* x, const int64_t programs, const int32_t threads) {
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (programs > 1 && threads > 1)
    for (int64_t p = 0; p < programs; ++p) x[PLACE] += int(p % 2);
}
int main() {
    static int x[2000000];
    for (int threads = 1; threads < 4; ++threads) kernel(x, 2000000, threads);
    for (int p = 0; SHARED < 1 && p < 2000000; ++p) if (x[p] != 3 * (p % 2)) return 1;
}
"""


@pytest.mark.parametrize(("place", "races"), [("p", False), ("0", True)])
def test_the_thread_sanitizer_sees_the_threads_of_a_loop(tmp_path: Path, place: str, races: bool) -> None:
    """With the loops of ``benchmarks/threads.cpp``, which every program of ``benchmarks.sanitizers`` is
    linked with."""
    compiler, setarch = find_compiler(), shutil.which("setarch")
    if compiler is None or "g++" not in compiler[0] or setarch is None:
        pytest.skip("wants g++ and setarch")
    source, binary = tmp_path / "race.cpp", tmp_path / "race"
    source.write_text(RACE.replace("PLACE", place).replace("SHARED", str(int(races))))
    flags = ["-O1", "-g1", "-fopenmp", "-fsanitize=thread", str(ROOT / "benchmarks" / "threads.cpp")]
    subprocess.run([*compiler, *flags, str(source), "-o", str(binary)], check=True)
    done = subprocess.run([setarch, "-R", str(binary)], capture_output=True, text=True, check=False)
    assert ("data race" in done.stderr) == races, done.stderr
    assert (done.returncode == 0) != races
