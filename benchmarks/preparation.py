"""What it costs to get there: compilation, a warm start, a call, a mask; each in a process of its own where
that matters."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import torch

import attn_dsl
from benchmarks.cases import EXAMPLES

COLD = """
import json, resource, sys, time, torch
start = time.perf_counter()
import attn_dsl
imported = time.perf_counter() - start
q = torch.randn(1, 8, 256, 64)
start = time.perf_counter()
attention = attn_dsl.compile(sys.argv[1])
attention(q, q, q)
print(json.dumps({"import_s": imported, "first_result_s": time.perf_counter() - start}))
"""
PEAK = """
import json, sys, torch
from pathlib import Path
from benchmarks.cases import CASES
from benchmarks.peers import implementations
case = next(c for c in CASES if c.name == sys.argv[1])
arguments = case.arguments(int(sys.argv[2]), 64)

def mib(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith(field)) / 1024

with torch.no_grad():
    torch.compile(lambda x: x + 1)(torch.ones(1))  # what the compiler of torch itself takes is not the mask's
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark so far
    before = mib("VmRSS")
    implementations(case, arguments, int(sys.argv[2]), 64, only=sys.argv[3])[sys.argv[3]]()
print(json.dumps(mib("VmHWM") - before))
"""
MASK = """
import json, sys, time, torch
from pathlib import Path
from benchmarks.cases import CASES
from benchmarks.peers import block_mask
import attn_dsl, attn_dsl.account, sympy
case = next(c for c in CASES if c.name == sys.argv[1])
length, which = int(sys.argv[2]), sys.argv[3]

def mib(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith(field)) / 1024

def look(length):
    arguments = {n: t for n, t in case.arguments(length, 8).items() if n not in "QKV"}
    if which == "flex":
        block_mask(case, arguments | {"Q": torch.zeros(1)}, length)
        return None
    attention = attn_dsl.compile(case.path, params=dict(case.params))
    sizes = {n: length for n in "ij"}
    analysis = attention.analyze(tensors=arguments, tiles=(128, 128), **sizes)
    return analysis.forward.kernels[0].loops[0].live.high

look(256)  # imports and what is made once
Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark so far
before, start = mib("VmRSS"), time.perf_counter()
live = look(length)
print(json.dumps({"s": time.perf_counter() - start, "mib": mib("VmHWM") - before, "live": live}))
"""
ANALYSIS = """
import json, sys, time, torch
from pathlib import Path
import attn_dsl, attn_dsl.account, sympy
from benchmarks.cases import EXAMPLES
name, params, sizes, documents = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])

def mib(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith(field)) / 1024

def look(sizes, params):
    tensors = {}
    if documents:
        n = sizes["i"]
        generator = torch.Generator().manual_seed(0)
        ends = torch.randint(n, (min(documents, n) - 1,), generator=generator).sort().values
        tensors = {"document": torch.searchsorted(ends, torch.arange(n), right=True).int()[None]}
    return attn_dsl.compile(EXAMPLES / f"{name}.attn", params=params).analyze(tensors=tensors, **sizes)

small = {n: 64 for n in sizes}
look(small, {n: min(v, 8) for n, v in params.items()})  # imports and what is made once
Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark so far
before, start = mib("VmRSS"), time.perf_counter()
live = look(sizes, params).forward.kernels[0].loops[0].live.high
print(json.dumps({"s": time.perf_counter() - start, "mib": mib("VmHWM") - before, "live": live}))
"""
MILLION = 1 << 20
# Each of 1,048,576 tokens: the example, its params, its sizes, how many documents.
ANALYSES: dict[str, tuple[str, dict[str, int], dict[str, int], int]] = {
    "sliding window": ("masks/sliding_window", {"window": 1024}, {"i": MILLION, "j": MILLION}, 0),
    "sink + window": ("masks/sink_window", {"sinks": 4, "window": 1024}, {"i": MILLION, "j": MILLION}, 0),
    "10,000 documents": ("masks/documents", {}, {"i": MILLION, "j": MILLION}, 10_000),
    "neighbourhood 1024 x 1024": (
        "multidim/neighbourhood_2d", {"width": 1024, "window": 13}, {"x": 1024, "u": 1024}, 0
    ),
}  # fmt: skip
MASKS = ("window 256", "documents", "global + window")
STARTED = ("basic/dense", "masks/sliding_window", "heads/grouped_query")


def preparation(device: str) -> dict[str, Any]:
    """Everything that is not the kernel's own time, in seconds and MiB."""
    result: dict[str, Any] = {"masks": masks(), "analyses": analyses()}
    if device == "cpu":
        result |= {"starts": starts(), "call": call_overhead(), "peak_mib": peaks()}
    return result


def starts() -> dict[str, Any]:
    """From text to the first result, beyond the imports: with an empty cache, then with a filled one."""
    found: dict[str, Any] = {}
    for name in STARTED:
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "ATTN_DSL_CACHE": cache}
            runs = [_run([COLD, str(EXAMPLES / f"{name}.attn")], environment) for _ in range(3)]
        found[name] = {"cold_s": runs[0]["first_result_s"], "warm_s": runs[2]["first_result_s"],
                       "import_s": runs[2]["import_s"]}  # fmt: skip
    return found


def call_overhead() -> dict[str, float]:
    """Microseconds of the smallest call, beside a call of C that does nothing."""
    attention = attn_dsl.compile(EXAMPLES / "basic" / "dense.attn")
    q = torch.randn(1, 1, 1, 16)
    empty = ctypes.CDLL(None).getpid
    with torch.no_grad():
        ours, nothing = (_per_call_us(f) for f in (lambda: attention(q, q, q), empty))
    return {"attn_dsl_us": ours, "empty_call_us": nothing}


def _per_call_us(call: Any, count: int = 5000) -> float:
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter() - start) / count)
    return best * 1e6


def masks() -> dict[str, Any]:
    """What it takes to know a mask's tiles: FlexAttention's block mask, which its kernel needs, and our
    account of live pairs and tiles, which ours does not; seconds, and MiB by which a process of its own grows
    at most."""
    found: dict[str, Any] = {}
    for name in MASKS:
        for length in (4096, 16384, 32768):
            peer = _run([MASK, name, str(length), "flex"], dict(os.environ))
            ours = _run([MASK, name, str(length), "attn_dsl"], dict(os.environ))
            found[f"{name}|{length}"] = {
                "create_block_mask_s": peer["s"], "create_block_mask_mib": peer["mib"],
                "account_s": ours["s"], "account_mib": ours["mib"], "live_pairs": ours["live"],
            }  # fmt: skip
    return found


def analyses() -> dict[str, Any]:
    """The whole account of a forward pass over a million tokens: seconds, and MiB by which the process grows
    at most."""
    found: dict[str, Any] = {}
    for name, (path, params, sizes, documents) in ANALYSES.items():
        arguments = [ANALYSIS, path, json.dumps(params), json.dumps(sizes), str(documents)]
        found[name] = _run(arguments, dict(os.environ))
    return found


def peaks() -> dict[str, Any]:
    """MiB by which the process grows at most from the inputs to the first result, the mask's preparation
    included."""
    found: dict[str, Any] = {}
    for name in ("causal", "window 256"):
        for peer in ("attn_dsl", "flex"):
            found[f"{name}|16384|{peer}"] = _run([PEAK, name, "16384", peer], dict(os.environ))
    return found


def _run(arguments: list[str], environment: dict[str, str]) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", *arguments], capture_output=True, text=True, env=environment, check=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])
