"""What the lowering must know of the machine it lowers for; everything else belongs to the printer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """``pads``: lanes of every axis are a power of two, of a matrix product at least 16. ``widens``: operands
    of f16 and bf16 are held in f32, to which their values are exact. ``double_products``: f64 has matrix
    products. ``skips``: matrix products leave out lanes that do not count, whatever stands beside them.
    ``parts``: sums at computed places are taken in parts, each by one thread; else in the digits of integers.
    ``threads``: of a warp."""

    pads: bool
    widens: bool
    double_products: bool
    skips: bool
    parts: bool
    threads: int = 1
