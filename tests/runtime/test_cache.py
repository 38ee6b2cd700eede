"""The disk cache: found by other processes, safe together, wary of what it reads."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import attn_dsl
from attn_dsl.runtime import cache
from attn_dsl.runtime.cache import Statistics

SOURCE = """attention plain
input Q[b, i, d], K[b, j, d], V[b, j, e]
S[b,i,j] += Q[b,i,d] * K[b,j,d]
P[b,i,j]  = softmax[j](S[b,i,j])
O[b,i,e] += P[b,i,j] * V[b,j,e]
output O[b, i, e]
"""
PROGRAM = f"""
import json, sys, torch, attn_dsl
from attn_dsl.runtime.cache import statistics
attention = attn_dsl.compile({SOURCE!r}, target=sys.argv[1])
q = torch.ones(1, 3, 4)
assert torch.equal(attention(q, q, q), torch.ones(1, 3, 4))
print(json.dumps([statistics.generated, statistics.disk_hits]))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("ATTN_DSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "statistics", Statistics())
    monkeypatch.setattr("attn_dsl.runtime.attention.statistics", cache.statistics)
    monkeypatch.setattr(cache, "_warned", False)
    return tmp_path / "cache"


def started(folder: Path, target: str = "cpu") -> subprocess.Popen[str]:
    environment = {**os.environ, "ATTN_DSL_CACHE": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, target], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip


def counted(process: subprocess.Popen[str]) -> tuple[int, int]:
    """How many programs a process generated, and how many it found."""
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    generated, found = json.loads(out)
    return generated, found


def call(target: str = "cpu") -> None:
    q = torch.ones(1, 3, 4)
    assert torch.equal(attn_dsl.compile(SOURCE, target=target)(q, q, q), torch.ones(1, 3, 4))


def only_entry(folder: Path) -> Path:
    (name,) = [name for name, _ in cache.entries(folder)]
    return folder / name


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_a_second_process_generates_and_compiles_nothing(folder: Path, target: str) -> None:
    assert counted(started(folder, target)) == (1, 0)
    before = {p: p.stat().st_mtime_ns for p in only_entry(folder).iterdir()}
    assert counted(started(folder, target)) == (0, 1)
    assert {p: p.stat().st_mtime_ns for p in only_entry(folder).iterdir()} == before


def test_eight_processes_that_start_cold_end_with_one_good_entry(folder: Path) -> None:
    counts = [counted(p) for p in [started(folder) for _ in range(8)]]
    assert sum(generated for generated, _ in counts) == 1
    assert sum(found for _, found in counts) == 7
    assert counted(started(folder)) == (0, 1)
    assert [p.name for p in folder.iterdir() if p.is_dir()] == [only_entry(folder).name]


def test_eight_threads_that_start_cold_end_with_one_good_entry(folder: Path) -> None:
    failures: list[BaseException] = []
    barrier = threading.Barrier(8)

    def run() -> None:
        barrier.wait()
        try:
            call()
        except BaseException as error:  # noqa: BLE001  (told to the test)
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert cache.statistics.generated == 1
    only_entry(folder)


@pytest.mark.parametrize("name", ["program.json", "kernels.cpp", "kernels.so", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_entry_is_built_anew(folder: Path, name: str, damage: str) -> None:
    """By other processes: one that has the binary loaded does not survive its truncation."""
    assert counted(started(folder)) == (1, 0)
    path = only_entry(folder) / name
    data = path.read_bytes()
    match damage:
        case "truncated":
            path.write_bytes(data[: len(data) // 2])
        case "altered":
            path.write_bytes(data[:-9] + bytes(255 - b for b in data[-9:]))
        case _:
            path.unlink()
    assert counted(started(folder)) == (1, 0)
    assert path.exists()
    assert counted(started(folder)) == (0, 1)


def test_another_user_s_cache_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(attn_dsl.CacheError, match="belongs to another user") as caught:
        call()
    assert "ATTN_DSL_CACHE" in str(caught.value)


def test_a_cache_that_others_may_write_to_is_refused(folder: Path) -> None:
    call()
    folder.chmod(0o777)
    with pytest.raises(attn_dsl.CacheError, match="others may write") as caught:
        call()
    assert "chmod 700" in str(caught.value)


def test_a_full_disk_leaves_the_program_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_write", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        call()
    assert cache.entries(folder) == []


def test_a_cache_that_cannot_be_made_is_done_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.parent.joinpath("file").write_text("")
    monkeypatch.setenv("ATTN_DSL_CACHE", str(folder.parent / "file" / "cache"))
    with pytest.warns(UserWarning, match="in memory only"):
        call()


def test_clear_leaves_nothing(folder: Path) -> None:
    call()
    assert cache.clear(folder) == 1
    assert cache.entries(folder) == []
    call()
    assert cache.statistics.generated == 2
