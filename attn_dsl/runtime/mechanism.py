"""A mechanism with its params, schedule and target: what runs for tensors in the order of its inputs.

It runs forward, forward keeping what the backward pass reads, and backward; each also over slices of some
inputs (``batched``). The operators of `attn_dsl.runtime.operators` call these and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attn_dsl.codegen.schedule import Schedule
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.printer import cascade_key
from attn_dsl.runtime import cache
from attn_dsl.runtime.autograd import is_transformed
from attn_dsl.runtime.kernels import Kernels, Params, architecture_for, remember
from attn_dsl.runtime.native import find_compiler
from attn_dsl.runtime.older_vmap import is_sliced, over_slices
from attn_dsl.runtime.sizes import Bound, bind, sizes_follow_from_shapes, solve_sizes

if TYPE_CHECKING:
    from attn_dsl.runtime.training import Differentiable, Training


class Mechanism:
    """A cascade that can be run. ``target``: None for what fits the arguments' device."""

    def __init__(self, cascade: Cascade, params: Params, schedule: Schedule, target: str | None) -> None:
        self.cascade = cascade
        self.params = params
        self.schedule = schedule
        self.target = target
        self.kernels = Kernels(cascade, params, schedule)
        self._differentiable: dict[str, Differentiable] = {}
        self._solved: dict[tuple[torch.Size, ...], dict[str, int]] = {}
        self._has_compiler = False
        self._batched: dict[int, Mechanism] = {}

    @property
    def key(self) -> str:
        """A name that is the same in every process: the mechanism's own, and a hash of all that determines
        it."""
        parts = (
            cascade_key(self.cascade),
            repr(sorted(self.params.items())),
            repr(self.schedule),
            repr(self.target),
        )
        return f"{self.cascade.name}_{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"

    # calls that torch sees as any function of tensors

    def call(self, arguments: Mapping[str, Tensor]) -> list[Tensor]:
        """The outputs of arguments by name, in order, with derivatives in whatever mode they are wanted."""
        if any(map(is_sliced, arguments.values())):
            return over_slices(self.call, dict(arguments))
        architecture = self._architecture(arguments.values())
        if not self._lacks_compiler(architecture):
            wanted = torch.is_grad_enabled() and any(a.requires_grad for a in arguments.values())
            if wanted or is_transformed():
                differentiable = self.as_differentiable(arguments.values())
                found = differentiable(arguments, self.sizes(arguments), architecture)
                return [found[o.name] for o in self.cascade.outputs]
        return self._run(Bound(dict(arguments), self.sizes(arguments)))

    # calls of operators, without derivatives

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The outputs. ArgumentError where the tensors do not fit."""
        ready = self.kernels.ready(tensors)
        if ready is not None:
            cache.statistics.memory_hits += 1
            return ready.run(tensors)
        return self._run(bind(self.cascade, self.params, tuple(tensors), {}))

    def _run(self, bound: Bound) -> list[Tensor]:
        architecture = self._architecture(bound.arguments.values())
        if self._lacks_compiler(architecture):
            from attn_dsl.runtime.without_compiler import by_reference

            found = by_reference(self.cascade, self.params, bound)
            return [found[o.name] for o in self.cascade.outputs]
        return list(self.kernels.run(bound.arguments, bound.sizes, architecture).values())

    def forward_keeping(self, tensors: Sequence[Tensor], wanted: Sequence[int]) -> list[Tensor]:
        """The outputs, then what the backward pass for the inputs at ``wanted`` reads."""
        training = self.training(tensors, wanted)
        ready = training.forward_pass.kernels.ready(tensors)
        if ready is not None:
            cache.statistics.memory_hits += 1
            return ready.run(tensors)
        bound = bind(self.cascade, self.params, tuple(tensors), {})
        return list(training.forward(bound.arguments, bound.sizes, self._architecture(tensors)).values())

    def backward(
        self, tensors: Sequence[Tensor], found: Sequence[Tensor], adjoints: Sequence[Tensor], wanted: Sequence[int]
    ) -> list[Tensor]:  # fmt: skip
        """The gradients of the inputs at ``wanted``. ``found``: what ``forward_keeping`` gave; ``adjoints``:
        of the outputs, in order."""
        training = self.training(tensors, wanted)
        arguments = dict(zip((i.name for i in self.cascade.inputs), tensors, strict=True))
        seeds = dict(zip((o.name for o in self.cascade.outputs), adjoints, strict=True))
        kept = dict(zip(training.forward_pass.results, found, strict=True))
        with torch.no_grad():
            gradients = training.backward(
                arguments, self.sizes(arguments), self._architecture(tensors), kept, seeds
            )
        return [gradients[self.cascade.inputs[at].name] for at in wanted]

    def tangents(
        self, tensors: Sequence[Tensor], tangents: Sequence[Tensor], along: Sequence[int]
    ) -> list[Tensor]:  # fmt: skip
        """The tangents of the floating outputs, in order. ``tangents``: of the inputs at ``along``; others
        have none."""
        names = tuple(self.cascade.inputs[at].name for at in along)
        arguments = dict(zip((i.name for i in self.cascade.inputs), tensors, strict=True))
        given = dict(zip(names, tangents, strict=True))
        run = self.as_differentiable(tensors).linearised(names).run
        with torch.no_grad():
            found, moved = run(arguments, given, self.sizes(arguments), self._architecture(tensors))
        outputs = (o.name for o in self.cascade.outputs)
        return [moved.get(n, torch.zeros_like(found[n])) for n in outputs if found[n].is_floating_point()]

    def sizes(self, arguments: Mapping[str, Tensor]) -> dict[str, int]:
        """The sizes of all indices, remembered where shapes alone tell them."""
        shapes = tuple(t.shape for t in arguments.values())
        sizes = self._solved.get(shapes)
        if sizes is None:
            sizes = solve_sizes(self.cascade, self.params, arguments)
            if sizes_follow_from_shapes(self.cascade):
                remember(self._solved, shapes, sizes)
        return sizes

    # what is derived from it

    def training(self, tensors: Sequence[Tensor], wanted: Sequence[int]) -> Training:
        """The two passes for the gradients of the inputs at ``wanted``. NotLoweredError where one has
        none."""
        names = tuple(self.cascade.inputs[at].name for at in wanted)
        return self.as_differentiable(tensors).training(names)

    def as_differentiable(self, tensors: Iterable[Tensor]) -> Differentiable:
        """The mechanism and its derivatives, with accumulators as these tensors want them."""
        return self.differentiable("f64" if any(t.dtype == torch.float64 for t in tensors) else "f32")

    def differentiable(self, real: str) -> Differentiable:
        """The mechanism and its derivatives, with accumulators of dtype ``real``, f32 or f64."""
        from attn_dsl.runtime.training import Differentiable

        if real not in self._differentiable:
            self._differentiable[real] = Differentiable(self.kernels, real)
        return self._differentiable[real]

    def batched(self, levels: Sequence[int]) -> Mechanism:
        """The mechanism over slices, once for every level. A level is a set of inputs, bit by bit: those that
        have slices along a further first axis; so do all outputs."""
        if not levels:
            return self
        first, *rest = levels
        if first not in self._batched:
            from attn_dsl.rewrites.batching import batched

            sliced = [i.name for at, i in enumerate(self.cascade.inputs) if first >> at & 1]
            cascade = batched(self.cascade, sliced).cascade
            self._batched[first] = Mechanism(cascade, self.params, self.schedule, self.target)
        return self._batched[first].batched(rest)

    def _architecture(self, tensors: Iterable[Tensor]) -> str:
        """What runs these tensors. TargetError where nothing does."""
        return architecture_for(self.target, next((t.device for t in tensors), torch.device("cpu")))

    def _lacks_compiler(self, architecture: str) -> bool:
        """Whether native kernels were to run where nothing can build them."""
        if architecture != "cpu" or self.target is not None:
            return False
        self._has_compiler = self._has_compiler or find_compiler() is not None  # a search of the path, once
        return not self._has_compiler
