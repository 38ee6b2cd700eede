"""Load the kernels of a program and launch them on arguments."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from attn_dsl.codegen.program import Buffer, Extent, Kernel, ParamValue, Pointer, Program, Stride
from attn_dsl.runtime.cache import Entry
from attn_dsl.runtime.collecting import collect, held
from attn_dsl.runtime.interpreter import interpreted, interpreting
from attn_dsl.runtime.sizes import DTYPES


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program whose kernels can be called. ``by_interpreter``: on the CPU, by Triton's interpreter."""

    program: Program
    functions: tuple[Any, ...]
    by_interpreter: bool


def load(entry: Entry, *, by_interpreter: bool) -> Loaded:
    """Import the source of an entry."""
    module = import_source(entry)
    functions = tuple(getattr(module, k.name) for k in entry.program.kernels)
    if by_interpreter:
        _interpret_helpers(module)
        functions = tuple(interpreted(f.fn) for f in functions)
    return Loaded(entry.program, functions, by_interpreter)


def import_source(entry: Entry) -> Any:
    """The module of an entry's source, under a name of its own."""
    name = f"_attn_dsl_{entry.source.parent.name}"
    spec = importlib.util.spec_from_file_location(name, entry.source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    writes = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
    return module


def _interpret_helpers(module: Any) -> None:
    """The module's own device functions are interpreted too, whenever its kernels are."""
    from triton.runtime.jit import JITFunction

    for name, value in list(vars(module).items()):
        if name.startswith("_") and isinstance(value, JITFunction):
            setattr(module, name, interpreted(value.fn))


def run(
    loaded: Loaded, arguments: Mapping[str, torch.Tensor], sizes: Mapping[str, int],
    params: Mapping[str, int | float | bool],
) -> dict[str, torch.Tensor]:  # fmt: skip
    """Launch every kernel; the outputs by name, in order."""
    device = next((a.device for a in arguments.values()), torch.device("cpu"))
    tensors = {name: _conforming(name, value, loaded.program) for name, value in arguments.items()}
    for buffer in loaded.program.buffers:
        tensors[buffer.name] = _allocate(buffer, sizes, device)
    for kernel, function in zip(loaded.program.kernels, loaded.functions, strict=True):
        _launch(kernel, function, tensors, sizes, params, loaded.by_interpreter)
    return {b.name: _collected(b, tensors[b.name]) for b in loaded.program.buffers if b.is_output}


def _conforming(name: str, value: torch.Tensor, program: Program) -> torch.Tensor:
    """The tensor itself, or a contiguous copy where its features are not laid out as the kernels expect."""
    divisor = dict(program.contiguous).get(name)
    if divisor is None or value.numel() == 0:
        return value
    aligned = divisor == 1 or (
        value.data_ptr() % 16 == 0 and all(s % divisor == 0 for s in value.stride()[:-1])
    )
    if value.stride(-1) == 1 and aligned:
        return value
    return value.clone(memory_format=torch.contiguous_format)


def _allocate(buffer: Buffer, sizes: Mapping[str, int], device: torch.device) -> torch.Tensor:
    shape = tuple(prod(sizes[i] for i in axis) for axis in buffer.axes)
    if buffer.collects:
        shape, dtype = held(buffer, shape)
        return torch.zeros(shape, dtype=dtype, device=device)
    return torch.empty(shape, dtype=DTYPES[buffer.dtype], device=device)


def _collected(buffer: Buffer, tensor: torch.Tensor) -> torch.Tensor:
    return collect(buffer.collects, tensor, DTYPES[buffer.dtype]) if buffer.collects else tensor


def _launch(
    kernel: Kernel, function: Any, tensors: Mapping[str, torch.Tensor], sizes: Mapping[str, int],
    params: Mapping[str, int | float | bool], by_interpreter: bool,
) -> None:  # fmt: skip
    programs = prod(-(-prod(sizes[i] for i in f.indices) // f.tile) for f in kernel.grid)
    if programs == 0:
        return
    values: dict[str, Any] = dict(kernel.constants)
    for argument in kernel.arguments:
        match argument.source:
            case Pointer(tensor=tensor):
                values[argument.name] = tensors[tensor]
            case Stride(tensor=tensor, axis=axis):
                values[argument.name] = tensors[tensor].stride(axis)
            case Extent(index=index):
                values[argument.name] = sizes[index]
            case ParamValue(name=name):
                values[argument.name] = params[name]
            case _:
                values[argument.name] = tensors[argument.source.tensor].item()
    if by_interpreter:
        with interpreting():
            function[(programs,)](**values)
    else:
        function[(programs,)](**values, **kernel.options())
