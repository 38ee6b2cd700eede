"""What the lowering must know of the machine it lowers for; everything else belongs to the printer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """``pads``: lanes of every axis are a power of two, of a matrix product at least 16. ``widens``: operands
    of f16 and bf16 are held in f32, to which their values are exact. ``double_products``: f64 has matrix
    products. ``holds_tiles``: every value of a tile is in registers at once, so one of three axes must be small.
    ``skips``: matrix products leave out lanes that do not count, whatever stands beside them."""

    pads: bool
    widens: bool
    double_products: bool
    holds_tiles: bool
    skips: bool


def machine_of(architecture: str) -> Machine:
    """The machine of ``cpu``, ``cuda:90``, ``hip:gfx942`` or ``interpreter``."""
    on_cpu = architecture == "cpu"
    return Machine(
        pads=not on_cpu, widens=on_cpu, double_products=on_cpu, holds_tiles=not on_cpu, skips=on_cpu
    )
