"""The least time a device needs for counted work (Williams et al., "Roofline", 2009), kernel by kernel.

Resources that run beside each other bound the time by the slowest of them; on a CPU the vector units do all
arithmetic, so that its parts add, and only memory runs beside. Kernels run one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable

from attn_dsl.account.devices import Device
from attn_dsl.account.model import KernelAccount, Roofline


def roofline(kernels: Iterable[KernelAccount], device: Device, *, tf32: bool = False) -> Roofline:
    """The bound over all kernels. ``tf32``: contractions of f32 may be rounded to it."""
    kernels = tuple(kernels)
    seconds = 0.0
    total = {"matrix": 0.0, "vector": 0.0, "special": 0.0, "memory": 0.0}
    for kernel in kernels:
        parts = _parts(kernel, device, tf32)
        arithmetic = [parts["matrix"], parts["vector"], parts["special"]]
        seconds += max(sum(arithmetic) if device.one_unit else max(arithmetic), parts["memory"])
        total = {name: total[name] + parts[name] for name in total}
    bound = max(total, key=total.__getitem__)
    programs = max((k.programs for k in kernels), default=0)
    return Roofline(device.name, seconds, bound, total, programs / device.processors)


def _parts(kernel: KernelAccount, device: Device, tf32: bool) -> dict[str, float]:
    matrix = sum(
        amount / device.matrix["tf32" if dtype == "f32" and tf32 else dtype]
        for dtype, amount in kernel.products.items()
    )
    return {
        "matrix": matrix,
        "vector": (kernel.pointwise.executed - kernel.special) / device.vector,
        "special": kernel.special / device.special,
        "memory": kernel.bytes / device.bandwidth,
    }
