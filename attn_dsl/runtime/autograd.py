"""Where torch's automatic differentiation meets the kernels: one `torch.autograd.Function` for every cascade.

torch asks for a derivative of a `Call` in one of three ways, all of which take `Differentiable`s again:

    backward   gradients, from what the call kept
    jvp        tangents, for a call inside several transforms of ``torch.func``
    vmap       one call of the cascade over slices, as ``torch.func.jacrev`` and ``hessian`` want
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from attn_dsl.runtime.dispatch import is_below_autograd
from attn_dsl.runtime.older_vmap import over_slices

if TYPE_CHECKING:
    from attn_dsl.runtime.training import Differentiable


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """One call of a cascade: all but its tensors. ``wanted``: the inputs that gradients are expected for."""

    cascade: Differentiable
    wanted: tuple[str, ...]
    sizes: Mapping[str, int]
    architecture: str

    def apply(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The results; ``tensors``: the inputs, then what is saved."""
        return _Function.apply(self, *tensors)

    def named(self, tensors: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The tensors by name."""
        return dict(zip((*self.cascade.inputs, *self.cascade.saved), tensors, strict=True))

    def run(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The kernels."""
        arguments = self.named(tensors)
        if not self.wanted:
            return tuple(self.cascade.kernels.run(arguments, self.sizes, self.architecture).values())
        training = self.cascade.training(self.wanted)
        found = training.forward_pass.kernels.run(arguments, self.sizes, self.architecture)
        if self.cascade.kernels.pairs is None:  # not itself a derivative
            training.require(arguments, found, self.sizes, self.architecture)
        return tuple(found.values())

    def mapped(
        self, count: int, dims: tuple[int | None, ...], tensors: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        """The results for slices of some tensors, by one call, and where their slices lie."""
        # Reals that are the same for all slices are repeated, without memory: so the gradient of one is for
        # each slice, by kernels like those of a single call, and torch sums them.
        sliced = frozenset(
            n
            for (n, t), d in zip(self.named(tensors).items(), dims, strict=True)
            if d is not None or t.is_floating_point()
        )
        over, batched = self.cascade.batched(sliced)
        given = {
            n: t
            if not batched.has_slices(n, over.index)
            else t.expand(count, *t.shape)
            if d is None
            else t.movedim(d, 0)
            for (n, t), d in zip(self.named(tensors).items(), dims, strict=True)
        }
        given |= {n: given[n].contiguous() for n in self.cascade.saved}  # as kernels store them
        wanted = self.wanted  # or what the levels around this one want
        if not wanted and torch.is_grad_enabled():
            wanted = tuple(n for n in self.cascade.inputs if given[n].requires_grad)
        call = Call(batched, wanted, {**self.sizes, over.index: count}, self.architecture)
        names, results = batched.results_for(wanted), self.cascade.results_for(self.wanted)
        found = dict(zip(names, call.apply(tuple(given.values())), strict=True))
        lie = dict(zip(names, batched.slices(wanted, over.index), strict=True))
        return tuple(found[n] for n in results), tuple(lie[n] for n in results)

    def gradients(
        self, wanted: tuple[str, ...], tensors: tuple[Tensor, ...], kept: tuple[Tensor, ...],
        adjoints: tuple[Tensor | None, ...],
    ) -> dict[str, Tensor]:  # fmt: skip
        """The gradients of the inputs ``wanted`` by name. ``kept``: the results; an output whose adjoint is
        None sends nothing."""
        arguments = self.named(tensors)
        found = dict(zip(self.cascade.results_for(self.wanted), kept, strict=True))
        given = zip(self.cascade.outputs, adjoints, strict=False)
        seeds = {n: a for n, a in given if a is not None}
        if set(wanted) <= set(self.wanted):
            training = self.cascade.training(self.wanted)
        else:  # a transform has hidden from the call that they would be wanted: nothing was kept
            training = self.cascade.training(wanted)
            constants = {n: without_tangent(t).detach() for n, t in arguments.items()}
            found = training.forward_pass(constants, self.sizes, self.architecture)
        return training.backward(arguments, self.sizes, self.architecture, found, seeds)


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(call: Call, *tensors: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return call.run(tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        call, *tensors = inputs
        ctx.call, ctx.count = call, len(tensors)
        ctx.save_for_backward(*tensors, *output)
        ctx.save_for_forward(*tensors)
        ctx.set_materialize_grads(False)
        outputs = len(call.cascade.outputs)
        ctx.mark_non_differentiable(
            *(t for at, t in enumerate(output) if at >= outputs or not t.is_floating_point())
        )

    @staticmethod
    def backward(ctx: Any, *adjoints: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        call: Call = ctx.call
        saved = ctx.saved_tensors  # once: under a checkpoint, reading them computes them
        tensors, kept = saved[: ctx.count], saved[ctx.count :]
        named = zip(call.cascade.inputs, ctx.needs_input_grad[1:], strict=False)
        wanted = tuple(n for n, needed in named if needed)
        gradients: dict[str, Tensor] = {}
        if wanted and any(a is not None for a in adjoints):
            gradients = over_slices(call.gradients, wanted, tensors, kept, adjoints)
        return (None, *(gradients.get(n) if n in wanted else None for n in call.named(tensors)))

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        call: Call = ctx.call
        arguments = {n: without_tangent(t) for n, t in call.named(ctx.saved_tensors[: ctx.count]).items()}
        given = {n: t for n, t in zip(call.cascade.inputs, tangents, strict=False) if t is not None}
        linearised = call.cascade.linearised(tuple(given))
        _, moved = over_slices(linearised.run, arguments, given, call.sizes, call.architecture)
        return tuple(moved.get(n) for n in call.cascade.results_for(call.wanted))

    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any, in_dims: Any, call: Call, *tensors: Tensor
    ) -> Any:  # fmt: skip
        return call.mapped(info.batch_size, in_dims[1:], tensors)


# forward mode


def is_transformed() -> bool:
    """Whether a call stands in a level of ``torch.autograd.forward_ad``, or in a transform of ``torch.func``;
    a kernel of an operator does not."""
    level: int = forward_ad._current_level  # pyright: ignore[reportPrivateUsage]
    return (level >= 0 and not is_below_autograd()) or _in_transform()


def _in_transform() -> bool:
    return torch._C._are_functorch_transforms_active()  # pyright: ignore


def tangents_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tangents of tensors by name, where this call is to compute its results' own. A `Call` is asked for
    them where gradients are wanted too: those have tangents in their turn."""
    found = {n: t for n, tensor in tensors.items() if (t := _tangent(tensor)) is not None}
    with_gradients = any(t.requires_grad for t in (*tensors.values(), *found.values()))
    return {} if with_gradients and torch.is_grad_enabled() and not _in_transform() else found


def _tangent(tensor: Tensor) -> Tensor | None:
    """That of the innermost transform."""
    if not tensor.is_floating_point() or not is_transformed():
        return None
    if _in_transform():
        from torch._C._functorch import TransformType
        from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter

        if retrieve_current_functorch_interpreter().key() != TransformType.Jvp:
            return None
    return forward_ad.unpack_dual(tensor).tangent


def without_tangent(tensor: Tensor) -> Tensor:
    """The tensor itself."""
    return tensor if _tangent(tensor) is None else forward_ad.unpack_dual(tensor).primal


def along(tensor: Tensor, tangent: Tensor) -> Tensor:
    """The tensor with its tangent."""
    return forward_ad.make_dual(tensor, tangent)
