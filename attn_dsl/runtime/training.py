"""Calls that can be differentiated, in both modes and any number of times.

A `Differentiable` is a cascade as a function of tensors. Its derivatives are cascades again: a `Training` has
the forward pass that keeps what the backward pass reads, and that pass; a `Linearised` has the results with
their tangents. Each of these is a `Differentiable` in its turn, so that second derivatives are by the same
rules, and fused like the first.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from attn_dsl.analysis.guards import Guards
from attn_dsl.analysis.logic import PRESENT
from attn_dsl.differentiation import Backward, backward, tangent
from attn_dsl.differentiation.memory import Pairs, pairs_of
from attn_dsl.errors import NotLoweredError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.planning.binding import bind, launch_params
from attn_dsl.rewrites.batching import Batched, batched
from attn_dsl.runtime.autograd import Call, along, is_transformed, tangents_of, without_tangent
from attn_dsl.runtime.kernels import Kernels
from attn_dsl.runtime.older_vmap import is_sliced, over_slices
from attn_dsl.runtime.sending import send
from attn_dsl.runtime.sizes import NAMES, evaluate_size

Sizes = Mapping[str, int]
Tensors = Mapping[str, Tensor]


@contextmanager
def no_gradient_here() -> Generator[None]:
    """What is not lowered inside is the gradient."""
    try:
        yield
    except NotLoweredError as error:
        help = "call it under torch.no_grad(), pass inputs without requires_grad, or differentiate .reference(...)"
        told = [replace(d, message=f"no gradient: {d.message}", help=help) for d in error.diagnostics]
        raise NotLoweredError(told, error.sources) from error


class Differentiable:
    """A cascade as a function of its inputs and of what it has saved; that is a function of the inputs
    itself, and is given to save time. ``real``: the dtype of accumulators, f32 or f64."""

    def __init__(self, kernels: Kernels, real: str) -> None:
        self.kernels = kernels
        self.real = real
        cascade = kernels.cascade
        self.inputs = tuple(i.name for i in cascade.inputs)
        self.saved = tuple(n for n in cascade.saved)
        self.outputs = tuple(o.name for o in cascade.outputs if o.name not in cascade.saved)
        flags = (PRESENT + t for t, _ in kernels.presences)
        self.results = (*self.outputs, *(f for f in flags if f not in cascade.saved))
        self._trainings: dict[tuple[str, ...], Training] = {}
        self._linearised: dict[tuple[str, ...], Linearised] = {}
        self._batched: dict[frozenset[str], tuple[Batched, Differentiable]] = {}

    def __call__(self, arguments: Tensors, sizes: Sizes, architecture: str) -> dict[str, Tensor]:
        """The results by name: outputs, then whether they exist where that is stored."""
        given = {n: arguments[n] for n in self.inputs}
        given |= {n: without_tangent(arguments[n]).detach() for n in self.saved}
        tangents = tangents_of({n: given[n] for n in self.inputs})
        if tangents:
            return self._along(given, tangents, sizes, architecture)
        wanted: tuple[str, ...] = ()
        if torch.is_grad_enabled():
            wanted = tuple(n for n in self.inputs if given[n].requires_grad)
        if not wanted and not is_transformed():
            return self.kernels.run(given, sizes, architecture)
        found = Call(self, wanted, sizes, architecture).apply(tuple(given.values()))
        return dict(zip(self.results_for(wanted), found, strict=True))

    def _along(self, given: Tensors, tangents: Tensors, sizes: Sizes, architecture: str) -> dict[str, Tensor]:
        """Results and tangents by one program."""
        primals = {n: without_tangent(t) for n, t in given.items()}
        run = self.linearised(tuple(tangents)).run
        found, moved = over_slices(run, primals, tangents, sizes, architecture)
        if any(map(is_sliced, tangents.values())):  # which torch joins to what has no slices alone
            found = self(primals, sizes, architecture)
        return {n: along(t, moved[n]) if n in moved else t for n, t in found.items()}

    def results_for(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The results of a call that keeps what gradients of the inputs ``wanted`` need."""
        return self.training(wanted).forward_pass.results if wanted else self.results

    def has_slices(self, name: str, index: str) -> bool:
        """Whether an input, or what is saved, has slices along an index."""
        axes = self.kernels.result_axes()
        declared = self.kernels.cascade.input(name)
        return ((index,) in axes[name]) if declared is None else index in declared.dims

    def slices(self, wanted: tuple[str, ...], index: str) -> tuple[int | None, ...]:
        """Where the slices along an index lie in each of ``results_for(wanted)``: first, or nowhere."""
        kernels = self.training(wanted).forward_pass.kernels if wanted else self.kernels
        axes = kernels.result_axes()
        return tuple(0 if axes[n][:1] == ((index,),) else None for n in self.results_for(wanted))

    def training(self, wanted: tuple[str, ...]) -> Training:
        """The two passes for the gradients of inputs. NotLoweredError names the statement that has none."""
        if wanted not in self._trainings:
            self._trainings[wanted] = Training(self.kernels, wanted, self.real, self._pairs())
        return self._trainings[wanted]

    def linearised(self, wanted: tuple[str, ...]) -> Linearised:
        """The results with their tangents along inputs."""
        if wanted not in self._linearised:
            self._linearised[wanted] = Linearised(self.kernels, wanted, self.real, self._pairs())
        return self._linearised[wanted]

    def batched(self, sliced: frozenset[str]) -> tuple[Batched, Differentiable]:
        """The same over slices of inputs and of what is saved."""
        if sliced not in self._batched:
            kernels = self.kernels
            over = batched(kernels.cascade, sliced)
            guards = Guards(over.cascade, merging=True)
            presences = tuple((t, guards.varies_with(t)) for t, _ in kernels.presences)
            made = Kernels(over.cascade, kernels.params, kernels.schedule, presences, kernels.pairs)
            self._batched[sliced] = over, Differentiable(made, self.real)
        return self._batched[sliced]

    def _pairs(self) -> Pairs:
        """What no derivative of any order may store."""
        return self.kernels.pairs or pairs_of(_bound(self.kernels))


class Training:
    """The two passes of a cascade, for the gradients of the inputs ``wanted``. NotLoweredError names the
    statement that has no gradient."""

    def __init__(self, kernels: Kernels, wanted: tuple[str, ...], real: str, pairs: Pairs) -> None:
        self._kernels, self._pairs, self._real_name = kernels, pairs, real
        self._is_required = False
        self.passes = backward(_bound(kernels), wanted, real)
        self.params = kernels.params
        self.wanted = wanted
        given = tuple(p for p in kernels.presences if PRESENT + p[0] in kernels.cascade.saved)
        stored = tuple(dict.fromkeys((*given, *self.passes.presences)))
        made = Kernels(self.passes.forward, kernels.params, kernels.schedule, stored, pairs)
        self.forward_pass = Differentiable(made, real)
        self.backward_pass = self._differentiable(self.passes)
        self._parts: dict[frozenset[str], tuple[Backward, Differentiable]] = {}

    def _differentiable(self, passes: Backward) -> Differentiable:
        kernels = self._kernels
        made = Kernels(passes.cascade, kernels.params, kernels.schedule, passes.presences, self._pairs)
        return Differentiable(made, self._real_name)

    def _part(self, outputs: frozenset[str]) -> tuple[Backward, Differentiable]:
        """The backward pass from these outputs alone: of others nothing is computed, so that where their
        derivatives are infinite, no 0 is multiplied by them. It reads no more than the whole one."""
        if outputs >= self.passes.seeds.keys():
            return self.passes, self.backward_pass
        if outputs not in self._parts:
            passes = backward(_bound(self._kernels), self.wanted, self._real_name, outputs)
            self._parts[outputs] = passes, self._differentiable(passes)
        return self._parts[outputs]

    def forward(self, arguments: Tensors, sizes: Sizes, architecture: str) -> dict[str, Tensor]:
        """The outputs, then what is kept beside them, without derivatives."""
        return self.forward_pass.kernels.run(arguments, sizes, architecture)

    def require(self, arguments: Tensors, found: Tensors, sizes: Sizes, architecture: str) -> None:
        """NotLoweredError where there will be no kernels for the backward pass: to be told when an attention
        is called, not when its gradient is asked for. ``found``: what ``forward`` gave."""
        if self._is_required or architecture not in (
            "cpu",
            "interpreter",
        ):  # on a GPU, generating tries schedules
            return
        dtypes = {n: NAMES[t.dtype] for n, t in arguments.items()}
        dtypes |= {seed: NAMES[found[output].dtype] for output, seed in self.passes.seeds.items()}
        sizes = self._all_sizes(self.passes, sizes)
        with no_gradient_here():
            self.backward_pass.kernels.require(dtypes, sizes, architecture)
        self._is_required = True

    def backward(
        self, arguments: Tensors, sizes: Sizes, architecture: str, found: Tensors, adjoints: Tensors
    ) -> dict[str, Tensor]:
        """The gradients of the wanted inputs, by name, which can be differentiated again. ``found``: what
        ``forward`` gave; ``adjoints``: of outputs, of which those that are not there have none."""
        passes, run = self._part(frozenset(adjoints.keys() & self.passes.seeds.keys()))
        sizes = self._all_sizes(passes, sizes)
        seeds = {seed: adjoints[output] for output, seed in passes.seeds.items()}
        computed = run({**arguments, **found, **seeds}, sizes, architecture) if seeds else {}
        gradients = {n: computed[t] for n, t in passes.gradients.items() if t in computed}
        if len(gradients) < len(passes.gradients):
            sent = send(passes.finish, computed, sizes)
            gradients |= {n: sent[t] for n, t in passes.gradients.items() if t in sent}
        return {n: self._of_input(arguments[n], gradients.get(n)) for n in self.wanted}

    def _all_sizes(self, passes: Backward, sizes: Sizes) -> dict[str, int]:
        """With those of the indices that the backward pass has besides."""
        known = dict(sizes)
        for index in passes.cascade.indices:
            if index.name not in known:
                size = evaluate_size(index.size, self.params, known)
                assert size is not None
                known[index.name] = size
        return known

    def _of_input(self, argument: Tensor, gradient: Tensor | None) -> Tensor:
        if gradient is None:  # nothing of this input reaches an output
            return torch.zeros_like(argument)
        return gradient.to(argument.dtype).reshape(argument.shape)


class Linearised:
    """The results of a cascade with their tangents along the inputs ``wanted``."""

    def __init__(self, kernels: Kernels, wanted: tuple[str, ...], real: str, pairs: Pairs) -> None:
        self.tangent = tangent(_bound(kernels), wanted)
        cascade = self.tangent.cascade
        self._outputs = tuple(o.name for o in kernels.cascade.outputs)
        given = tuple(p for p in kernels.presences if PRESENT + p[0] in cascade.saved)
        made = Kernels(cascade, kernels.params, kernels.schedule, given, pairs)
        self._differentiable = Differentiable(made, real)

    def run(
        self, arguments: Tensors, tangents: Tensors, sizes: Sizes, architecture: str
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs, and the tangents of those that have one, by the outputs' names."""
        seeds = {seed: tangents[n] for n, seed in self.tangent.seeds.items()}
        found = self._differentiable({**arguments, **seeds}, sizes, architecture)
        moved = {o: found[t] for o, t in self.tangent.tangents.items()}
        return {n: found[n] for n in self._outputs if n in found}, moved


def _bound(kernels: Kernels) -> Cascade:
    """The cascade with the params that shape it as constants."""
    at_launch = launch_params(kernels.cascade)
    fixed = {n: v for n, v in kernels.params.items() if n not in at_launch}
    return bind(kernels.cascade, fixed, {})
