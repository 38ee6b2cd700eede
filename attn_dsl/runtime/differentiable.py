"""The autograd rule of an operator: forward keeps what the backward pass reads, backward is an operator too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.runtime.dispatch import apply, next_level

Levels = Sequence[int]
Wanted = Sequence[int]


@dataclass(frozen=True, slots=True)
class Passes:
    """The operators of a mechanism: its outputs; they and what is kept; the gradients."""

    outputs: int
    forward: Callable[[Sequence[Tensor], Levels], Sequence[Tensor]]
    forward_keeping: Callable[[Sequence[Tensor], Sequence[int], Levels], list[Tensor]]
    backward: Callable[
        [Sequence[Tensor], Sequence[Tensor], Sequence[Tensor], Sequence[int], Levels], list[Tensor]
    ]


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, passes: Passes, levels: Levels, kept_for: Wanted | None, *tensors: Tensor) -> Any:
        own = [at for at, needed in enumerate(ctx.needs_input_grad[3:]) if needed]
        ctx.own, ctx.kept_for = own, own if kept_for is None else kept_for
        with next_level():
            if ctx.kept_for:
                found = passes.forward_keeping(tensors, ctx.kept_for, levels)
            else:  # only forward mode wants a derivative
                found = passes.forward(tensors, levels)
        ctx.passes, ctx.levels, ctx.inputs = passes, levels, len(tensors)
        ctx.save_for_backward(*tensors, *found)
        # What is kept follows from the inputs; the backward pass is differentiated as if it computed it anew.
        fixed = [t for at, t in enumerate(found) if at >= passes.outputs or not t.is_floating_point()]
        ctx.mark_non_differentiable(*fixed)
        return tuple(found[: passes.outputs] if kept_for is None else found)

    @staticmethod
    def backward(ctx: Any, *adjoints: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        passes, levels, wanted = ctx.passes, ctx.levels, ctx.kept_for
        saved = ctx.saved_tensors  # once: under a checkpoint, reading them computes them
        tensors, found = saved[: ctx.inputs], saved[ctx.inputs :]
        if not {*ctx.own} <= {*wanted}:  # kept for another transform, which wants other gradients
            wanted = ctx.own
            found = passes.forward_keeping(tensors, wanted, levels)
        gradients = passes.backward(tensors, found, adjoints[: passes.outputs], wanted, levels)
        placed = dict(zip(wanted, gradients, strict=True))
        return (None, None, None, *(placed[at] if at in ctx.own else None for at in range(ctx.inputs)))


class _Gradients(torch.autograd.Function):
    """The backward pass as an operation of its own: here is where its derivative belongs."""

    @staticmethod
    def forward(ctx: Any, name: str, run: Callable[[], list[Tensor]], *_: Tensor) -> tuple[Tensor, ...]:
        ctx.name = name
        with next_level():
            return tuple(run())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise NotLoweredError(
            Diagnostic(
                f"second derivatives of {ctx.name} are not built for its operator, which compiled and exported graphs call",
                help="take them of the attention itself, outside of torch.compile",
            )
        )


def differentiated(
    passes: Passes, tensors: Sequence[Tensor], levels: Levels, kept_for: Wanted | None = None
) -> Sequence[Tensor]:
    """The outputs, with their derivatives; with ``kept_for``, also what the gradients of these inputs read."""
    return apply(_Differentiable, passes, levels, kept_for, *tensors)


def gradients(name: str, run: Callable[[], list[Tensor]], tensors: Sequence[Tensor]) -> list[Tensor]:
    """The gradients that ``run`` gives of ``tensors``, which may be differentiated in their turn."""
    return list(apply(_Gradients, name, run, *tensors))
