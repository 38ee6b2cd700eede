"""A schedule: how a program is cut into tiles. It may change speed, never results."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Tile sizes in elements (powers of two, at least 16), warps a program, pipeline stages. None: the default
    table decides by device, dtype and feature sizes.

    ``num_warps``: at most; a kernel that reads its tiles along their diagonals has no more than they have lanes for.
    ``max_registers``: what a thread may take (NVIDIA only; at most 255). None leaves it to ptxas, which may spill
    a few to have more programs on a processor at once.
    """

    row_tile: int | None = None
    stream_tile: int | None = None
    num_warps: int | None = None
    num_stages: int | None = None
    max_registers: int | None = None
