"""What `torch.utils.flop_counter` counts of a call: the account's operations of live elements, in
products."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from attn_dsl.runtime.mechanism import Mechanism

_DTYPE = "bf16"  # one whose products are products on every device; their number is that of any

_PENDING: dict[Any, Callable[..., int]] = {}


def register(mechanism: Mechanism, packet: Callable[[str], Any]) -> None:
    """Formulas for the operators of a mechanism; ``packet``: from a suffix to the operator."""

    def outputs(*tensors: Tensor, out_val: Any = None) -> int:
        return _operations(mechanism, tensors)

    def listed(inputs: Sequence[Tensor], *rest: Any, out_val: Any = None) -> int:
        return _operations(mechanism.batched(rest[-1]), inputs)

    def backward(inputs: Sequence[Tensor], *rest: Any, out_val: Any = None) -> int:
        return _operations(mechanism.batched(rest[-1]), inputs, backward=True)

    formulas = {"": outputs, "_batched": listed, "_forward": listed, "_backward": backward}
    _PENDING.update({packet(suffix): formula for suffix, formula in formulas.items()})
    tell()


def tell() -> None:
    """Give torch's counter the formulas it has not got. Its import takes most of a second, so it is left to
    those who count; one that counts already has made its copy of the formulas."""
    counting = sys.modules.get("torch.utils.flop_counter") if _PENDING else None
    if counting is None:
        return
    from torch.utils._python_dispatch import _get_current_dispatch_mode_stack  # pyright: ignore

    counting.flop_registry.update(_PENDING)
    modes: list[Any] = _get_current_dispatch_mode_stack()
    for mode in modes:
        if isinstance(mode, counting._FlopCounterMode):
            mode.counter.flop_registry.update(_PENDING)
    _PENDING.clear()


def _operations(mechanism: Mechanism, tensors: Sequence[Tensor], *, backward: bool = False) -> int:
    from attn_dsl.account.analysis import Request, live_operations

    cascade = mechanism.cascade
    arguments = {i.name: t for i, t in zip(cascade.inputs, tensors, strict=True)}
    sizes = {n: size for n, size in mechanism.sizes(arguments).items() if not n.startswith("_")}
    data = {i.name: arguments[i.name] for i in cascade.inputs if i.dtype is not None}
    known = {n: t for n, t in data.items() if type(t) is torch.Tensor and not t.is_meta}
    return live_operations(
        Request(cascade, mechanism.params, sizes, _DTYPE, tensors=known, backward=backward)
    )
