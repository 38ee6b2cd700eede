"""The operators of a mechanism in ``torch.ops.attn_dsl``, so that all of torch can work with it.

    NAME(Tensor Q, Tensor K, ...) -> (Tensor, ...)                           the outputs
    NAME_batched(Tensor[] inputs, int[] batched) -> Tensor[]                 they, under vmap
    NAME_forward(Tensor[] inputs, int[] wanted, int[] batched) -> Tensor[]   they, and what the backward pass reads
    NAME_backward(Tensor[] inputs, Tensor[] found, Tensor[] adjoints, int[] wanted, int[] batched) -> Tensor[]
    NAME_tangents(Tensor[] inputs, Tensor[] tangents, int[] along, int[] batched) -> Tensor[]

NAME is the same in every process (`Mechanism.key`). ``wanted``: the positions of the inputs whose gradient is
wanted; ``along``: of those that have a tangent. ``batched``: a set of inputs, bit by bit, for every
`torch.vmap` around the call, the innermost first. For every operator torch is told how it runs, what shapes
it gives (tracing), how it is mapped (vmap), and for the first how it is differentiated and what autocast does
to its arguments.
"""

from __future__ import annotations

import keyword
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from attn_dsl.ir.cascade import Cascade
from attn_dsl.runtime import abstract, flops
from attn_dsl.runtime.autocast import cast
from attn_dsl.runtime.differentiable import Levels, Passes, derivatives, differentiated
from attn_dsl.runtime.dispatch import BACKENDS, below_autograd, separate, wants_derivatives, without_autocast
from attn_dsl.runtime.mechanism import Mechanism
from attn_dsl.runtime.older_vmap import over_slices

NAMESPACE = "attn_dsl"
_TAKEN = frozenset({"self"})
_REGISTERED: dict[str, Any] = {}
_LIBRARY: list[torch.library.Library] = []
_LOCK = threading.Lock()


def operator(mechanism: Mechanism) -> Any:
    """The operator ``NAME`` of a mechanism; registered where no equal one has been."""
    name = mechanism.key
    with _LOCK:
        if name not in _REGISTERED:
            _REGISTERED[name] = _register(name, mechanism)
    return _REGISTERED[name]


def _register(name: str, mechanism: Mechanism) -> Any:
    if not _LIBRARY:
        _LIBRARY.append(torch.library.Library(NAMESPACE, "FRAGMENT"))
    operators = _Operators(name, mechanism, _LIBRARY[0])
    operators.define()
    return operators.outputs


class _Operators:
    """The operators of one mechanism."""

    def __init__(self, name: str, mechanism: Mechanism, library: torch.library.Library) -> None:
        self._name = name
        self._mechanism = mechanism
        self._library = library
        self._passes = Passes(
            len(mechanism.cascade.outputs),
            self._listed,
            lambda tensors, wanted, levels: self.forward(tensors, wanted, levels),
            lambda *given: self.backward(*given),  # pyright: ignore[reportUnknownLambdaType]
            lambda *given: self.tangents(*given),  # pyright: ignore[reportUnknownLambdaType]
        )

    def define(self) -> None:
        """Tell torch everything about them."""
        schema = schemas(self._name, self._mechanism.cascade)
        tags = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides)
        for text in schema:
            self._library.define(text, tags=tags)
        namespace = getattr(torch.ops, NAMESPACE)
        self.outputs = getattr(namespace, self._name).default
        self.batched = getattr(namespace, f"{self._name}_batched").default
        self.forward = getattr(namespace, f"{self._name}_forward").default
        self.backward = getattr(namespace, f"{self._name}_backward").default
        self.tangents = getattr(namespace, f"{self._name}_tangents").default
        rules = (
            ("", self._run, self._shapes, self._map, self._differentiate),
            ("_batched", self._run_batched, self._batched_shapes, self._map_batched, self._differentiate_batched),
            ("_forward", self._run_forward, self._forward_shapes, self._map_forward, self._differentiate_forward),
            ("_backward", self._run_backward, self._backward_shapes, self._map_backward, self._differentiate_backward),
            ("_tangents", self._run_tangents, self._tangent_shapes, self._map_tangents, self._differentiate_tangents),
        )  # fmt: skip
        for suffix, run, shapes, over, derivative in rules:
            name = f"{self._name}{suffix}"
            for key in BACKENDS.values():
                self._library.impl(name, run, key)
            torch.library.register_fake(f"{NAMESPACE}::{name}", shapes, lib=self._library)
            torch.library.register_vmap(f"{NAMESPACE}::{name}", over, lib=self._library)
            self._library.impl(name, derivative, "Autograd", with_keyset=True)
            self._library.impl(name, self._over_slices(name), "Batched")
        for device, key in BACKENDS.items():
            self._library.impl(self._name, self._autocast(device), f"Autocast{key}")
            self._library.impl(f"{self._name}_batched", self._autocast_batched(device), f"Autocast{key}")

        flops.register(self._mechanism, lambda suffix: getattr(namespace, f"{self._name}{suffix}"))

    def _listed(self, tensors: Sequence[Tensor], levels: Levels) -> Sequence[Tensor]:
        if levels:
            return self.batched(list(tensors), levels)
        found = self.outputs(*tensors)
        return (found,) if isinstance(found, Tensor) else found

    # how they run

    def _run(self, *tensors: Tensor) -> Any:
        return _returned(separate(self._mechanism.forward(tensors), tensors))

    def _run_batched(self, inputs: list[Tensor], batched: Levels) -> list[Tensor]:
        return separate(self._mechanism.batched(batched).forward(inputs), inputs)

    def _run_forward(self, inputs: list[Tensor], wanted: list[int], batched: Levels) -> list[Tensor]:
        return separate(self._mechanism.batched(batched).forward_keeping(inputs, wanted), inputs)

    def _run_backward(
        self, inputs: list[Tensor], found: list[Tensor], adjoints: list[Tensor], wanted: list[int], batched: Levels
    ) -> list[Tensor]:  # fmt: skip
        gradients = self._mechanism.batched(batched).backward(inputs, found, adjoints, wanted)
        return separate([g.contiguous() for g in gradients], (*inputs, *found, *adjoints))

    def _run_tangents(
        self, inputs: list[Tensor], tangents: list[Tensor], along: list[int], batched: Levels
    ) -> list[Tensor]:  # fmt: skip
        found = self._mechanism.batched(batched).tangents(inputs, tangents, along)
        return separate([t.contiguous() for t in found], (*inputs, *tangents))

    # what shapes they give

    def _shapes(self, *tensors: Tensor) -> Any:
        return _returned(abstract.forward(self._mechanism, tensors))

    def _batched_shapes(self, inputs: list[Tensor], batched: Levels) -> list[Tensor]:
        return abstract.forward(self._mechanism.batched(batched), inputs)

    def _forward_shapes(self, inputs: list[Tensor], wanted: list[int], batched: Levels) -> list[Tensor]:
        return abstract.forward_keeping(self._mechanism.batched(batched), inputs, wanted)

    def _backward_shapes(
        self, inputs: list[Tensor], found: list[Tensor], adjoints: list[Tensor], wanted: list[int], batched: Levels
    ) -> list[Tensor]:  # fmt: skip
        return abstract.backward(self._mechanism.batched(batched), inputs, wanted)

    def _tangent_shapes(
        self, inputs: list[Tensor], tangents: list[Tensor], along: list[int], batched: Levels
    ) -> list[Tensor]:  # fmt: skip
        return abstract.tangents(self._mechanism.batched(batched), inputs)

    # how they are mapped

    def _map(self, info: Any, in_dims: Any, *tensors: Tensor) -> Any:
        outputs, dims = self._map_batched(info, (in_dims, None), tensors, ())
        return _returned(outputs), dims[0] if len(dims) == 1 else tuple(dims)

    def _map_batched(
        self, info: Any, in_dims: Any, inputs: Sequence[Tensor], batched: Levels
    ) -> tuple[list[Tensor], list[int]]:
        sliced = _sliced(inputs, in_dims[0])
        moved = _in_front(inputs, in_dims[0], sliced, info.batch_size)
        outputs = self.batched(moved, [*batched, _bits(sliced)])
        return outputs, [0] * len(outputs)

    def _map_forward(
        self, info: Any, in_dims: Any, inputs: list[Tensor], wanted: list[int], batched: Levels
    ) -> Any:  # fmt: skip
        sliced = _sliced(inputs, in_dims[0])
        moved = _in_front(inputs, in_dims[0], sliced, info.batch_size)
        levels = [*batched, _bits(sliced)]
        found = self.forward(moved, wanted, levels)
        return found, self._found_dims(inputs, wanted, levels)

    def _found_dims(self, inputs: list[Tensor], wanted: list[int], levels: Levels) -> list[int | None]:
        """Where the slices of what `forward` gives lie."""
        mechanism = self._mechanism.batched(levels)
        names = tuple(mechanism.cascade.inputs[at].name for at in wanted)
        index = mechanism.cascade.indices[0].name  # the last level's
        return list(mechanism.as_differentiable(inputs).slices(names, index))

    def _map_backward(
        self, info: Any, in_dims: Any, inputs: list[Tensor], found: list[Tensor], adjoints: list[Tensor],
        wanted: list[int], batched: Levels,
    ) -> Any:  # fmt: skip
        inputs_dims, found_dims, adjoint_dims, *_ = in_dims
        if all(dim is None for dim in inputs_dims):  # the forward pass was not mapped: only adjoints differ
            each = [
                self.backward(inputs, found, _slice(adjoints, adjoint_dims, at), wanted, batched)
                for at in range(info.batch_size)
            ]
            return [torch.stack(parts) for parts in zip(*each, strict=True)], [0] * len(wanted)
        sliced = _sliced(inputs, inputs_dims)
        moved = _in_front(inputs, inputs_dims, sliced, info.batch_size)
        seen = {at for at, dim in enumerate(found_dims) if dim is not None}
        kept = _in_front(found, found_dims, seen, info.batch_size)
        seeds = _in_front(adjoints, adjoint_dims, {*range(len(adjoints))}, info.batch_size)
        gradients = self.backward(moved, kept, seeds, wanted, [*batched, _bits(sliced)])
        return gradients, [0] * len(wanted)

    def _map_tangents(
        self, info: Any, in_dims: Any, inputs: list[Tensor], tangents: list[Tensor], along: list[int], batched: Levels
    ) -> Any:  # fmt: skip
        inputs_dims, tangents_dims, *_ = in_dims
        sliced = _sliced(inputs, inputs_dims)
        moved = _in_front(inputs, inputs_dims, sliced, info.batch_size)
        directions = _in_front(tangents, tangents_dims, {*range(len(along))}, info.batch_size)
        found = self.tangents(moved, directions, along, [*batched, _bits(sliced)])
        return found, [0] * len(found)

    def _over_slices(self, name: str) -> Callable[..., Any]:
        """An operator under torch's older vmap."""
        op = getattr(getattr(torch.ops, NAMESPACE), name).default
        return lambda *given: over_slices(op, *given)

    # derivatives, and autocast

    def _differentiate(self, keys: Any, *tensors: Tensor) -> Any:
        if wants_derivatives(tensors):
            return _returned(differentiated(self._passes, tensors, ()))
        return below_autograd(self.outputs, keys, *tensors)

    def _differentiate_batched(self, keys: Any, inputs: list[Tensor], batched: Levels) -> list[Tensor]:
        if wants_derivatives(inputs):
            return list(differentiated(self._passes, inputs, batched))
        return below_autograd(self.batched, keys, inputs, batched)

    def _differentiate_forward(
        self, keys: Any, inputs: list[Tensor], wanted: list[int], batched: Levels
    ) -> list[Tensor]:  # fmt: skip
        if wants_derivatives(inputs):
            return list(differentiated(self._passes, inputs, batched, wanted))
        return below_autograd(self.forward, keys, inputs, wanted, batched)

    def _differentiate_backward(
        self, keys: Any, inputs: list[Tensor], found: list[Tensor], adjoints: list[Tensor], wanted: list[int],
        batched: Levels,
    ) -> list[Tensor]:  # fmt: skip
        given, tensors = (inputs, found, adjoints, wanted, batched), (*inputs, *found, *adjoints)
        if wants_derivatives(tensors):
            return derivatives(self._mechanism.cascade.name, lambda: self.backward(*given), tensors)
        return below_autograd(self.backward, keys, *given)

    def _differentiate_tangents(
        self, keys: Any, inputs: list[Tensor], tangents: list[Tensor], along: list[int], batched: Levels
    ) -> list[Tensor]:  # fmt: skip
        given = (inputs, tangents, along, batched)
        if wants_derivatives((*inputs, *tangents)):
            return derivatives(
                self._mechanism.cascade.name, lambda: self.tangents(*given), (*inputs, *tangents)
            )
        return below_autograd(self.tangents, keys, *given)

    # Casts come first: behind a region nothing tells what it wants.

    def _autocast(self, device: str) -> Callable[..., Any]:
        def run(*tensors: Tensor) -> Any:
            operands = self._cast(tensors)
            return without_autocast(device, lambda: self.outputs(*operands))

        return run

    def _autocast_batched(self, device: str) -> Callable[..., Any]:
        def run(inputs: list[Tensor], levels: Levels) -> list[Tensor]:
            operands = self._cast(inputs)
            return without_autocast(device, lambda: self.batched(operands, levels))

        return run

    def _cast(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        names = (i.name for i in self._mechanism.cascade.inputs)
        return list(cast(self._mechanism.cascade, dict(zip(names, tensors, strict=True))).values())


def schemas(name: str, cascade: Cascade) -> tuple[str, ...]:
    """What the operators of a cascade take and give."""
    inputs = ", ".join(f"Tensor {_argument(i.name)}" for i in cascade.inputs)
    outputs = ", ".join("Tensor" for _ in cascade.outputs)
    returned = outputs if len(cascade.outputs) == 1 else f"({outputs})"
    return (
        f"{name}({inputs}) -> {returned}",
        f"{name}_batched(Tensor[] inputs, int[] batched) -> Tensor[]",
        f"{name}_forward(Tensor[] inputs, int[] wanted, int[] batched) -> Tensor[]",
        f"{name}_backward(Tensor[] inputs, Tensor[] found, Tensor[] adjoints, int[] wanted, int[] batched) -> Tensor[]",
        f"{name}_tangents(Tensor[] inputs, Tensor[] tangents, int[] along, int[] batched) -> Tensor[]",
    )


def _argument(name: str) -> str:
    """The name of an input as a schema and Python may have it."""
    return f"{name}_" if name in _TAKEN or keyword.iskeyword(name) else name


def _returned(outputs: Sequence[Tensor]) -> Any:
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _sliced(tensors: Sequence[Tensor], dims: Sequence[int | None]) -> set[int]:
    """The inputs that a mapped call has slices of; every real one, so that each slice has a gradient of its
    own."""
    return {
        at
        for at, (t, dim) in enumerate(zip(tensors, dims, strict=False))
        if dim is not None or t.is_floating_point()
    }


def _bits(positions: set[int]) -> int:
    return sum(1 << at for at in positions)


def _in_front(
    tensors: Sequence[Tensor], dims: Sequence[int | None], sliced: set[int], size: int
) -> list[Tensor]:
    """The tensors at ``sliced`` with their slices along the first axis; what is the same for all is repeated
    there, which takes no memory."""
    return [
        t if at not in sliced else t.expand(size, *t.shape) if dim is None else t.movedim(dim, 0)
        for at, (t, dim) in enumerate(zip(tensors, dims, strict=True))
    ]


def _slice(tensors: Sequence[Tensor], dims: Sequence[int | None], at: int) -> list[Tensor]:
    return [t if dim is None else t.select(dim, at) for t, dim in zip(tensors, dims, strict=True)]
