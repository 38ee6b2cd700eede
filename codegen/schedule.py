"""A schedule: how a program is cut into tiles. It may change speed, never results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard


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

    def fault(self) -> tuple[str, str] | None:
        """What no kernel can have, and what it can: a tile that is no power of two would be another in silence."""
        powers = {"row_tile": (16, 4096), "stream_tile": (16, 4096), "num_warps": (1, 32)}
        for name, (least, most) in powers.items():
            given: object = getattr(self, name)
            if given is not None and not (_is_within(given, least, most) and given.bit_count() == 1):
                return f"{name}={given!r}", f"a power of two from {least} to {most}"
        for name, most in (("num_stages", 16), ("max_registers", 255)):
            given = getattr(self, name)
            if given is not None and not _is_within(given, 1, most):
                return f"{name}={given!r}", f"an integer from 1 to {most}"
        return None


def _is_within(given: object, least: int, most: int) -> TypeGuard[int]:
    return isinstance(given, int) and not isinstance(given, bool) and least <= given <= most
