"""Interleaved timing: every implementation once a round, so that what the machine does meanwhile hits all
alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

BUDGET_S = 5.0  # of measuring, for each implementation of a cell
MAX_ROUNDS = 15


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds a call: the median, the quartiles, and how many calls were measured."""

    median: float
    lower: float
    upper: float
    rounds: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def interleaved(calls: Mapping[str, Callable[[], Any]], device: str) -> dict[str, Timing]:
    """Time every call, in turns. One unmeasured call each comes first, and tells how many rounds fit."""
    slowest = max(_once(call, device) for call in calls.values())
    rounds = max(2, min(MAX_ROUNDS, int(BUDGET_S / slowest)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_once(call, device))
    return {name: _timing(found) for name, found in times.items()}


def _once(call: Callable[[], Any], device: str) -> float:
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _timing(times: list[float]) -> Timing:
    lower, median, upper = (
        statistics.quantiles(times, n=4) if len(times) > 2 else (min(times), sum(times) / 2, max(times))
    )
    return Timing(median, lower, upper, len(times))


def ceilings(device: str) -> dict[str, float]:
    """The machine's own best, measured: f32 products (torch.mm, FLOP/s) and copies (bytes/s, read and
    written)."""
    a, b = (torch.randn(2048, 2048, device=device) for _ in range(2))
    x = torch.randn(1 << 26, device=device)
    y = torch.empty_like(x)
    product = min(_once(lambda: a @ b, device) for _ in range(12))
    copy = min(_once(lambda: y.copy_(x), device) for _ in range(6))
    return {"gemm_flops": 2 * 2048**3 / product, "copy_bytes": 2 * x.numel() * 4 / copy}
