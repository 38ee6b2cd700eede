"""What this machine can do, measured in about two seconds and kept in the cache: products, copies, operations."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256

import torch

from attn_dsl.account.devices import THIS_CPU, Device
from attn_dsl.runtime.cache import directory
from attn_dsl.runtime.native import processor
from attn_dsl.version import __version__


@lru_cache(maxsize=1)
def this_cpu() -> Device:
    """The processor with as many threads as torch takes."""
    key = f"{processor()} {torch.get_num_threads()} {torch.__version__} {__version__}"
    file = directory() / f"machine-{sha256(key.encode()).hexdigest()[:16]}.json"
    try:
        rates = json.loads(file.read_text(encoding="utf-8"))
        return from_rates(**rates)
    except (OSError, ValueError, TypeError):
        rates = measure()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rates), encoding="utf-8")
    except OSError:
        pass  # a measurement that is not kept is made again
    return from_rates(**rates)


def from_rates(gemm: float, gemm_bf16: float, gemm_f64: float, copy: float, special: float) -> Device:
    """A CPU of these rates a second: FLOP of products, bytes copied, exponentials. A simple operation takes a lane of
    a vector as long as a fused multiply-add does, which counts as two FLOP."""
    matrix = {"f32": gemm, "tf32": gemm, "f16": gemm, "bf16": gemm_bf16, "f64": gemm_f64}
    return Device(THIS_CPU, "cpu", torch.get_num_threads(), matrix, gemm / 2, special, copy, one_unit=True)


def measure() -> dict[str, float]:
    """The rates, each the best of several: other work on the machine makes them less, never more."""
    big = torch.randn(1 << 25)
    other = torch.empty_like(big)
    return {
        "gemm": _product(torch.float32), "gemm_bf16": _product(torch.bfloat16), "gemm_f64": _product(torch.float64),
        "copy": 2 * 4 * big.numel() / _best(lambda: other.copy_(big), 4), "special": _exponentials(),
    }  # fmt: skip


def _product(dtype: torch.dtype) -> float:
    n = 1024
    a, b = (torch.randn(n, n).to(dtype) for _ in range(2))
    return 2 * n**3 / _best(lambda: a @ b, 10)


def _exponentials() -> float:
    """Powers of two a second, of what lies in a cache, over all threads."""
    x = torch.randn(1 << 13)
    out = torch.empty_like(x)

    def many() -> None:
        for _ in range(64):
            torch.exp2(x, out=out)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return threads * 64 * x.numel() / _best(many, 20)
    finally:
        torch.set_num_threads(threads)


def _best(call: Callable[[], object], rounds: int) -> float:
    call()
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
