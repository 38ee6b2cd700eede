"""What machines can do at most, from their makers' data sheets; and this machine, measured.

Rates are a second, of dense operands. ``matrix``: FLOP of products by operands' dtype; ``vector``: simple f32
operations; ``special``: exponentials; ``bandwidth``: bytes of device memory. Sources, for each device:

    A100    NVIDIA A100 80GB data sheet (2021), SXM
    H100    NVIDIA H100 data sheet (2023), SXM5; its tensor figures are with sparsity, halved here
    H200    NVIDIA H200 data sheet (2024), SXM; likewise
    B200    NVIDIA HGX B200 data sheet (2024), an eighth of eight; bandwidth 8 TB/s
    MI300X  AMD Instinct MI300X data sheet (2023)

Exponentials have no line in a data sheet: 16 a clock and multiprocessor on NVIDIA's (CUDA programming guide,
arithmetic instructions; FlashAttention-3, Shah et al. 2024, gives 3.9 T/s for an H100), a quarter of the 64
lanes of an AMD compute unit (CDNA 3 instruction set), at the boost clock. ``vector`` counts an instruction as
one operation, where the sheets count a fused multiply-add as two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attn_dsl.errors import ArgumentError, Diagnostic


@dataclass(frozen=True, slots=True)
class Device:
    """``one_unit``: products, vector operations and exponentials share the same units, so that their times
    add; else they run beside each other. ``architecture``: which kernels it runs. ``processors``: how many
    programs it needs to be busy."""

    name: str
    architecture: str
    processors: int
    matrix: Mapping[str, float]
    vector: float
    special: float
    bandwidth: float
    one_unit: bool = False


_T = 1e12


def _matrix(half: float, tf32: float, f64: float, f32: float) -> Mapping[str, float]:
    return {"bf16": half * _T, "f16": half * _T, "tf32": tf32 * _T, "f64": f64 * _T, "f32": f32 * _T}


DEVICES: dict[str, Device] = {d.name: d for d in (
    Device("A100", "cuda:80", 108, _matrix(312, 156, 19.5, 19.5), 9.75 * _T, 2.4 * _T, 2.039 * _T),
    Device("H100", "cuda:90", 132, _matrix(989.5, 494.5, 67, 67), 33.5 * _T, 3.9 * _T, 3.35 * _T),
    Device("H200", "cuda:90", 132, _matrix(989.5, 494.5, 67, 67), 33.5 * _T, 3.9 * _T, 4.8 * _T),
    Device("B200", "cuda:100", 148, _matrix(2250, 1125, 37, 75), 37.5 * _T, 4.6 * _T, 8.0 * _T),
    Device("MI300X", "hip:gfx942", 304, _matrix(1307.4, 653.7, 163.4, 163.4), 81.7 * _T, 10.2 * _T, 5.3 * _T),
)}  # fmt: skip
THIS_CPU = "this CPU"


def device(name: str) -> Device:
    """A device by name, ``this CPU`` (or ``cpu``) measured. ArgumentError for one that is not known."""
    if name in (THIS_CPU, "cpu"):
        from attn_dsl.account.measured import this_cpu

        return this_cpu()
    for known in DEVICES.values():
        if known.name.lower() == name.lower():
            return known
    names = ", ".join((*DEVICES, THIS_CPU))
    raise ArgumentError(Diagnostic(f"there is no device '{name}' in the table", help=f"one of {names}"))
