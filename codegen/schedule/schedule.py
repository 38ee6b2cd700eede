"""A schedule: how a program is cut into tiles. It may change speed, never results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from attn_dsl.errors import ArgumentError, Diagnostic


@dataclass(frozen=True, slots=True)
class Schedule:
    """Tile sizes in elements (powers of two, at least 16), warps a program, pipeline stages. None: the
    default table decides by device, dtype and feature sizes.

    ``num_warps``: at most; a kernel that reads its tiles along their diagonals has no more than they have
    lanes for. ``max_registers``: what a thread may take (NVIDIA only; at most 255). None leaves it to ptxas,
    which may spill a few to have more programs on a processor at once.
    """

    row_tile: int | None = None
    stream_tile: int | None = None
    num_warps: int | None = None
    num_stages: int | None = None
    max_registers: int | None = None


def require_usable(schedule: Schedule) -> None:
    """ArgumentError where no kernel can have these tiles, warps or stages."""
    for name, least, most in (("row_tile", 16, 1024), ("stream_tile", 16, 1024), ("num_warps", 1, 32)):
        given: object = getattr(schedule, name)
        if given is not None and not (_is_power_of_two(given) and least <= given <= most):
            raise _unusable(name, given, f"a power of two, from {least} to {most}")
    for name, most in (("num_stages", 16), ("max_registers", 255)):
        given = getattr(schedule, name)
        if given is not None and not (_is_integer(given) and 1 <= given <= most):
            raise _unusable(name, given, f"an integer from 1 to {most}")


def _is_integer(given: object) -> TypeGuard[int]:
    return isinstance(given, int) and not isinstance(given, bool)


def _is_power_of_two(given: object) -> TypeGuard[int]:
    return _is_integer(given) and given > 0 and given & (given - 1) == 0


def _unusable(name: str, given: object, wanted: str) -> ArgumentError:
    return ArgumentError(Diagnostic(f"the schedule's {name} is {given!r}", help=f"give {wanted}"))
