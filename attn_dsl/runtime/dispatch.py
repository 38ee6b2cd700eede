"""torch's dispatcher: what it offers operators of others only under private names, in one place."""
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false, reportUnnecessaryComparison=false

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

SingleLevel = _SingleLevelFunction  # a `Function` of one level of torch.func
BACKENDS = {"cpu": "CPU", "cuda": "CUDA"}  # ROCm goes by the name of CUDA


def is_watched() -> bool:
    """Whether torch is to see a call as an operator: under tracing and other dispatch modes."""
    return torch._C._len_torch_dispatch_stack() > 0 or torch._C._get_tracing_state() is not None


def is_zero_tensor(tensor: Tensor) -> bool:
    """Whether a tensor stands for zeros, and has no memory."""
    return tensor._is_zerotensor()


def is_below_autograd() -> bool:
    """Whether the dispatcher has come to what is not to be differentiated: an operator's kernels."""
    return torch._C._dispatch_tls_is_dispatch_key_excluded(torch._C.DispatchKey.AutogradFunctionality)


def wants_derivatives(tensors: Sequence[Tensor]) -> bool:
    """Whether a call is to be differentiated, in either mode."""
    backward = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return backward or forward_ad._current_level >= 0 or _in_jvp()


def _in_jvp() -> bool:
    """Whether this is a level of `torch.func.jvp`, of which a compiled graph does not tell `forward_ad`."""
    if not torch._C._are_functorch_transforms_active():
        return False
    from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter

    return retrieve_current_functorch_interpreter().key() == torch._C._functorch.TransformType.Jvp


def apply(function: type[SingleLevel], *args: Any) -> Any:
    """``function.apply``, called by the dispatcher for one level of torch.func's transforms at a time, as the
    rules of torch's own operators are."""
    from torch._functorch.utils import enable_single_level_autograd_function, unwrap_dead_wrappers

    if not torch._C._are_functorch_transforms_active():
        return function.apply(*unwrap_dead_wrappers(args))
    with enable_single_level_autograd_function():
        return function.apply(*args)


@contextmanager
def next_level() -> Generator[None]:
    """Inside a `Function`: below the derivatives of this level. Those of the transforms around it are not to
    be lost; torch has turned gradients off."""
    with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True), torch._C._AutoDispatchBelowAutograd():
        yield


def below_autograd(op: Any, keys: Any, *args: Any, **kwargs: Any) -> Any:
    """An operator where nothing is to be differentiated. ``keys``: those its rule was called with."""
    with torch._C._AutoDispatchBelowAutograd():
        return op.redispatch(keys & torch._C._after_autograd_keyset, *args, **kwargs)


def without_autocast(device: str, call: Callable[[], Any]) -> Any:
    """A call behind the casts of a region."""
    key = getattr(torch._C.DispatchKey, f"Autocast{BACKENDS[device]}")
    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
        return call()


def separate(results: list[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
    """Results of which none shares memory with another or with an argument, as torch wants of an operator."""
    seen = {t.untyped_storage()._cdata for t in given}
    for at, result in enumerate(results):
        if result.untyped_storage()._cdata in seen:
            results[at] = result.clone()
        seen.add(results[at].untyped_storage()._cdata)
    return results
