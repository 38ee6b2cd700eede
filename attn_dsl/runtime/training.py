"""Calls that can be differentiated: a forward pass that keeps what the backward pass reads, and that pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from attn_dsl.codegen.binding import bind, launch_params
from attn_dsl.codegen.schedule import Schedule
from attn_dsl.differentiation import backward
from attn_dsl.ir.cascade import Cascade
from attn_dsl.runtime.kernels import Kernels, Params
from attn_dsl.runtime.sizes import DTYPES, Bound, evaluate_size


class Training:
    """The two passes of a mechanism, for the gradients of the inputs ``wanted``. ``real``: the dtype of
    accumulators, f32 or f64. NotLoweredError names the statement that has no gradient."""

    def __init__(
        self, cascade: Cascade, params: Params, schedule: Schedule, wanted: tuple[str, ...], real: str
    ) -> None:
        at_launch = launch_params(cascade)
        fixed = {n: v for n, v in params.items() if n not in at_launch}
        self.passes = backward(bind(cascade, fixed, {}), wanted, real)
        self.params = params
        self.wanted = wanted
        self.real = DTYPES[real]
        self._forward = Kernels(self.passes.forward, params, schedule, self.passes.presences)
        self._backward = Kernels(self.passes.cascade, params, schedule, self.passes.presences)
        self.outputs = tuple(o.name for o in cascade.outputs)

    def forward(
        self, arguments: Mapping[str, Tensor], sizes: Mapping[str, int], architecture: str
    ) -> dict[str, Tensor]:
        """The outputs, then what is kept beside them."""
        return self._forward.run(arguments, sizes, architecture)

    def backward(
        self, arguments: Mapping[str, Tensor], sizes: Mapping[str, int], architecture: str,
        found: Mapping[str, Tensor], adjoints: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:  # fmt: skip
        """The gradients of the wanted inputs, by name. ``found``: what ``forward`` gave; ``adjoints``: of outputs."""
        passes = self.passes
        sizes = dict(sizes)
        for index in passes.cascade.indices:
            if index.name not in sizes:
                size = evaluate_size(index.size, self.params, sizes)
                assert size is not None
                sizes[index.name] = size
        seeds = {seed: adjoints[output] for output, seed in passes.seeds.items()}
        saved = {n: t for n, t in found.items() if n in passes.cascade.saved}
        computed = self._backward.run({**arguments, **seeds, **saved}, sizes, architecture)
        gradients = {n: computed[t] for n, t in passes.gradients.items() if t in computed}
        if len(gradients) < len(passes.gradients):
            gradients |= self._finished(arguments, computed, sizes)
        return {n: self._of_input(arguments[n], gradients.get(n)) for n in self.wanted}

    def _finished(
        self, arguments: Mapping[str, Tensor], computed: Mapping[str, Tensor], sizes: Mapping[str, int]
    ) -> dict[str, Tensor]:
        """The gradients that are sums over rows, or sent to computed places."""
        from attn_dsl.reference import evaluate

        finish = self.passes.finish
        given = {i.name: computed.get(i.name, arguments.get(i.name)) for i in finish.inputs}
        results = evaluate(
            finish, self.params, {n: t for n, t in given.items() if t is not None}, sizes, self.real
        )
        return {n: results[t] for n, t in self.passes.gradients.items() if t in results}

    def _of_input(self, argument: Tensor, gradient: Tensor | None) -> Tensor:
        if gradient is None:  # nothing of this input reaches an output
            return torch.zeros_like(argument)
        return gradient.to(argument.dtype).reshape(argument.shape)


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, training: Training, bound: Bound, architecture: str, *tensors: Tensor) -> Any:
        found = training.forward(bound.arguments, bound.sizes, architecture)
        ctx.training, ctx.sizes, ctx.architecture = training, bound.sizes, architecture
        ctx.names, ctx.found = tuple(bound.arguments), tuple(found)
        ctx.save_for_backward(*tensors, *found.values())
        outputs = tuple(found[name] for name in training.outputs)
        ctx.mark_non_differentiable(*(o for o in outputs if not o.is_floating_point()))
        return outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *adjoints: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        tensors = ctx.saved_tensors
        arguments = dict(zip(ctx.names, tensors, strict=False))
        found = dict(zip(ctx.found, tensors[len(arguments) :], strict=True))
        training: Training = ctx.training
        gradients = training.backward(
            arguments, ctx.sizes, ctx.architecture, found, dict(zip(training.outputs, adjoints, strict=True))
        )
        return (None, None, None, *(gradients.get(name) for name in arguments))


def differentiable_call(training: Training, bound: Bound, architecture: str) -> tuple[Tensor, ...]:
    """The outputs of a call, with their backward pass."""
    return _Differentiable.apply(training, bound, architecture, *bound.arguments.values())
