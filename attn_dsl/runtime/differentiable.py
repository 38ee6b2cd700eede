"""The autograd rule of an operator: forward keeps what the backward pass reads; backward and tangents are
operators too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.runtime.dispatch import SingleLevel, apply, next_level

Levels = Sequence[int]
Wanted = Sequence[int]


@dataclass(frozen=True, slots=True)
class Passes:
    """The operators of a mechanism: its outputs; they and what is kept; the gradients; the tangents."""

    outputs: int
    forward: Callable[[Sequence[Tensor], Levels], Sequence[Tensor]]
    forward_keeping: Callable[[Sequence[Tensor], Sequence[int], Levels], list[Tensor]]
    backward: Callable[
        [Sequence[Tensor], Sequence[Tensor], Sequence[Tensor], Sequence[int], Levels], list[Tensor]
    ]
    tangents: Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[int], Levels], list[Tensor]]


@dataclass(frozen=True, slots=True)
class _Call:
    """All of a call but its tensors. ``own``: the inputs whose gradients this level wants; ``kept_for``:
    those for which the forward pass is to keep what the backward pass reads, which other levels may want."""

    passes: Passes
    levels: Levels
    own: Wanted
    kept_for: Wanted


# torch wants `forward` and `setup_context` apart wherever torch.func may stand around a call.
class _Differentiable(SingleLevel):
    @staticmethod
    def forward(call: _Call, *tensors: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        with next_level():
            if call.kept_for:
                return tuple(call.passes.forward_keeping(tensors, call.kept_for, call.levels))
            return tuple(call.passes.forward(tensors, call.levels))  # only forward mode wants a derivative

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.call, *tensors = inputs
        ctx.save_for_backward(*tensors, *output)
        ctx.save_for_forward(*tensors)
        ctx.set_materialize_grads(False)  # nothing reads the adjoints of what is kept
        # What is kept follows from the inputs; the backward pass is differentiated as if it computed it anew.
        outputs = ctx.call.passes.outputs
        ctx.real = [at < outputs and t.is_floating_point() for at, t in enumerate(output)]
        ctx.mark_non_differentiable(*(t for t, real in zip(output, ctx.real, strict=True) if not real))

    @staticmethod
    def backward(ctx: Any, *adjoints: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        call: _Call = ctx.call
        passes, wanted = call.passes, call.kept_for
        saved = ctx.saved_tensors  # once: under a checkpoint, reading them computes them
        count = len(ctx.needs_input_grad) - 1
        tensors, found = saved[:count], saved[count:]
        seeds = [_adjoint(a, t) for a, t in zip(adjoints[: passes.outputs], found, strict=False)]
        if not {*call.own} <= {*wanted}:  # kept for another transform, which wants other gradients
            wanted = call.own
            found = passes.forward_keeping(tensors, wanted, call.levels)
        gradients = passes.backward(tensors, found, seeds, wanted, call.levels)
        placed = dict(zip(wanted, gradients, strict=True))
        return (None, *(placed[at] if at in call.own else None for at in range(count)))

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        call: _Call = ctx.call
        tensors = [forward_ad.unpack_dual(t, level=0).primal for t in ctx.saved_tensors[: len(tangents)]]
        along = [at for at, t in enumerate(tangents) if t is not None]
        given = [t for t in tangents if t is not None]
        moved = iter(call.passes.tangents(tensors, given, along, call.levels))
        return tuple(next(moved) if real else None for real in ctx.real)


def _adjoint(given: Tensor | None, output: Tensor) -> Tensor:
    return torch.zeros_like(output) if given is None else given


class _Derivatives(SingleLevel):
    """A derivative as an operation of its own: here is where its own derivative belongs."""

    @staticmethod
    def forward(name: str, run: Callable[[], list[Tensor]], *_: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        with next_level():
            return tuple(run())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.name = inputs[0]

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise NotLoweredError(
            Diagnostic(
                f"second derivatives of {ctx.name} are not built for its operator, which compiled and exported graphs call",
                help="take them of the attention itself, outside of torch.compile",
            )
        )

    jvp = backward


def differentiated(
    passes: Passes, tensors: Sequence[Tensor], levels: Levels, kept_for: Wanted | None = None
) -> Sequence[Tensor]:
    """The outputs, with their derivatives; with ``kept_for``, also what the gradients of these inputs
    read."""
    own = [at for at, t in enumerate(tensors) if t.requires_grad]
    call = _Call(passes, levels, own, own if kept_for is None else kept_for)
    found = apply(_Differentiable, call, *tensors)
    return found[: passes.outputs] if kept_for is None else found


def derivatives(name: str, run: Callable[[], list[Tensor]], tensors: Sequence[Tensor]) -> list[Tensor]:
    """The gradients or tangents that ``run`` gives of ``tensors``, which may be differentiated in their
    turn."""
    return list(apply(_Derivatives, name, run, *tensors))
