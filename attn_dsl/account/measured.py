"""What this machine can do: products, copies, operations. Measured in about two seconds, and kept in the
cache.

Other work on the machine makes a rate less, never more. So the best of several measurements counts, made in
processes some time apart: an hour until there are enough of them, then a month.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from time import perf_counter, time
from typing import Any

import torch

from attn_dsl.account.devices import THIS_CPU, Device
from attn_dsl.runtime.cache import directory
from attn_dsl.runtime.native import processor
from attn_dsl.version import __version__

_ENOUGH = 5
_HOUR, _MONTH = 3600.0, 30 * 86400.0


@lru_cache(maxsize=1)
def this_cpu() -> Device:
    """The processor with as many threads as torch takes."""
    key = f"{processor()} {torch.get_num_threads()} {torch.__version__} {__version__}"
    return from_rates(**_best_rates(directory() / f"machine-{sha256(key.encode()).hexdigest()[:16]}.json"))


def _best_rates(file: Path) -> dict[str, float]:
    """The best rates so far, measured again where that is due."""
    known = _kept(file)
    times: list[float] = known["measured"]
    best: dict[str, float] = known["rates"]
    if best and not _is_due(times, time()):
        return best
    best = better(best, measure())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"rates": best, "measured": [*times, time()][-_ENOUGH:]})
        file.write_text(text, encoding="utf-8")
    except OSError:
        pass  # a measurement that is not kept is made again
    return best


def _kept(file: Path) -> dict[str, Any]:
    """What earlier measurements gave; nothing where that cannot be read."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        from_rates(**known["rates"])
        return {"rates": known["rates"], "measured": [float(t) for t in known["measured"]]}
    except (OSError, ValueError, TypeError, KeyError):
        return {"rates": {}, "measured": []}


def _is_due(times: list[float], now: float) -> bool:
    """Whether one more measurement may find more."""
    age = now - max(times, default=0.0)
    return age < 0 or age > (_MONTH if len(times) >= _ENOUGH else _HOUR)


def better(known: Mapping[str, float], found: Mapping[str, float]) -> dict[str, float]:
    """The greater of both for each rate."""
    return {name: max(rate, known.get(name, 0.0)) for name, rate in found.items()}


def from_rates(gemm: float, gemm_bf16: float, gemm_f64: float, copy: float, special: float) -> Device:
    """A CPU of these rates a second: FLOP of products, bytes copied, exponentials. A simple operation takes a
    lane of a vector as long as a fused multiply-add does, which counts as two FLOP. A kernel widens bf16
    where the processor has no products of it, whatever torch does there."""
    matrix = {"f32": gemm, "tf32": gemm, "f16": gemm, "bf16": max(gemm, gemm_bf16), "f64": gemm_f64}
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
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return min(times)
