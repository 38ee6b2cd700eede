"""Calls of native kernels. What a call costs besides its kernels is paid once per set of shapes and strides.

A `Prepared` holds, for one signature of the arguments, the words that every kernel takes (strides, extents,
params) and the places of the pointers among them; a call copies the words, writes the pointers, and jumps.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from attn_dsl.codegen.program import Argument, Buffer, Extent, Kernel, ParamValue, Pointer, Program, Stride
from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.runtime.collecting import collect, held
from attn_dsl.runtime.memory import in_memory
from attn_dsl.runtime.profiling import named
from attn_dsl.runtime.sizes import DTYPES

PLAIN = (torch.Tensor, torch.nn.Parameter)


def signature(arguments: Sequence[Any], differentiated: bool = False) -> tuple[Any, ...] | None:
    """What `Prepared` depends on; None for arguments that are not plain tensors on the CPU or, where the call
    is ``differentiated``, want gradients."""
    parts: list[Any] = []
    for value in arguments:
        if (
            type(value) not in PLAIN
            or value.is_nested
            or not value.is_cpu
            or (differentiated and value.requires_grad)
            or value.layout != torch.strided
            or value.is_neg()
        ):
            return None
        parts += (value.shape, value.stride(), value.dtype)
    return tuple(parts)


MAX_PROGRAMS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Call:
    """One kernel at one signature. ``pointers``: (place among the words, position among the tensors)."""

    function: Callable[..., None]
    words: Any
    pointers: tuple[tuple[int, int], ...]
    programs: int


@dataclass(frozen=True, slots=True)
class _Allocation:
    """``collects``: that of its `Buffer`; ``result``: the dtype of what is collected."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    is_output: bool
    collects: str = ""
    result: torch.dtype = torch.float32


class Prepared:
    """The kernels of a program, ready for arguments of one signature."""

    def __init__(
        self, program: Program, library: ctypes.CDLL, arguments: Mapping[str, torch.Tensor],
        sizes: Mapping[str, int], params: Mapping[str, int | float | bool], name: str,
    ) -> None:  # fmt: skip
        self._name = name
        self._copied = tuple(
            at for at, (name, value) in enumerate(arguments.items()) if not _conforms(name, value, program)
        )
        tensors = {
            name: value.contiguous() if at in self._copied else value
            for at, (name, value) in enumerate(arguments.items())
        }
        self._buffers = tuple(_allocation(b, sizes) for b in program.buffers)
        given = [b for b in self._buffers if b.is_output]
        self._collected = [(at, b) for at, b in enumerate(given) if b.collects]
        self._names = names = [*tensors, *(b.name for b in program.buffers)]
        self.results = tuple(b.name for b in program.buffers if b.is_output)
        shapes = {b.name: a.shape for b, a in zip(program.buffers, self._buffers, strict=True)}
        strides = {n: t.stride() for n, t in tensors.items()} | {n: _row_major(s) for n, s in shapes.items()}
        self._calls = tuple(
            call
            for kernel in program.kernels
            if (call := _call(kernel, library, names, strides, sizes, params)) is not None
        )

    def run(self, arguments: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Launch every kernel; the outputs in order. Arguments are those of the signature, on the CPU."""
        with named(self._name):
            return self._run(arguments)

    def _run(self, arguments: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        tensors = list(arguments)
        for at in self._copied:
            tensors[at] = tensors[at].contiguous()
        outputs: list[torch.Tensor] = []
        for buffer in self._buffers:
            new = torch.zeros if buffer.collects else torch.empty
            made = new(buffer.shape, dtype=buffer.dtype, device="cpu")
            tensors.append(made)
            if buffer.is_output:
                outputs.append(made)
        threads = torch.get_num_threads()
        for call in self._calls:
            words = type(call.words).from_buffer_copy(call.words)
            for place, position in call.pointers:
                pointer = tensors[position].data_ptr()
                if not pointer and tensors[position].numel():  # zeros without memory
                    tensors[position] = in_memory(self._names[position], tensors[position])
                    pointer = tensors[position].data_ptr()
                words[place] = pointer
            call.function(words, call.programs, threads)
        for at, buffer in self._collected:
            outputs[at] = collect(buffer.collects, outputs[at], buffer.result)
        return outputs


def _conforms(name: str, value: torch.Tensor, program: Program) -> bool:
    """Whether the features lie as the kernels expect: next to each other."""
    return name not in dict(program.contiguous) or value.numel() == 0 or value.stride(-1) == 1


def _allocation(buffer: Buffer, sizes: Mapping[str, int]) -> _Allocation:
    shape = tuple(prod(sizes[i] for i in axis) for axis in buffer.axes)
    if buffer.collects:
        shape, dtype = held(buffer, shape)
        return _Allocation(shape, dtype, buffer.is_output, buffer.collects, DTYPES[buffer.dtype])
    return _Allocation(shape, DTYPES[buffer.dtype], buffer.is_output)


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[at + 1 :]) for at in range(len(shape)))


def _call(
    kernel: Kernel, library: ctypes.CDLL, names: list[str], strides: Mapping[str, tuple[int, ...]],
    sizes: Mapping[str, int], params: Mapping[str, int | float | bool],
) -> _Call | None:  # fmt: skip
    programs = prod(-(-prod(sizes[i] for i in f.indices) // f.tile) for f in kernel.grid)
    if programs == 0:
        return None
    if programs > MAX_PROGRAMS:
        raise ArgumentError(Diagnostic(f"{programs} tiles of rows are more than a launch can count"))
    words: list[int] = []
    pointers: list[tuple[int, int]] = []
    for argument in kernel.arguments:
        match argument.source:
            case Pointer(tensor=tensor):
                pointers.append((len(words), names.index(tensor)))
                words.append(0)
            case Stride(tensor=tensor, axis=axis):
                words.append(strides[tensor][axis])
            case Extent(index=index):
                words.append(sizes[index])
            case ParamValue(name=name):
                words.append(_word(argument, params[name]))
            case _:
                raise AssertionError(f"{argument.source} is not passed to native kernels")
    function = getattr(library, kernel.name)
    function.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32)
    function.restype = None
    return _Call(function, (ctypes.c_int64 * len(words))(*words), tuple(pointers), programs)


def _word(argument: Argument, value: float) -> int:
    """An integer as it is, a real as the bits of a double."""
    if argument.dtype in ("f32", "f64"):
        return int(struct.unpack("q", struct.pack("d", float(value)))[0])
    return int(value)
