"""What code generation hands to the run time: source text and how to launch what it defines.

A `Program` is plain data that a disk cache can hold (``to_json`` / ``from_json``): the text of a module, the
buffers the launches share, and the launches in order. Every run-time value a kernel takes is described by
where it comes from, so the run time needs to know nothing of the mechanism.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

# How a sum at computed places is held: the axis beside its own, and the length of that. No index of a user's
# begins so.
PARTS, DIGITS = "_parts", "_digits"
COLLECTED = {"parts": 16, "digits": 10}


@dataclass(frozen=True, slots=True)
class Pointer:
    """The data pointer of an input, an output or a temporary."""

    tensor: str


@dataclass(frozen=True, slots=True)
class Stride:
    """The stride, in elements, of one axis of a tensor's layout."""

    tensor: str
    axis: int


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of an index."""

    index: str


@dataclass(frozen=True, slots=True)
class ParamValue:
    """A param passed at launch."""

    name: str


@dataclass(frozen=True, slots=True)
class ScalarValue:
    """A rank-0 input, passed by value as a float (or int, by the input's dtype)."""

    tensor: str


ArgumentSource = Pointer | Stride | Extent | ParamValue | ScalarValue
_SOURCES: dict[str, type[Any]] = {c.__name__: c for c in (Pointer, Stride, Extent, ParamValue, ScalarValue)}


@dataclass(frozen=True, slots=True)
class Argument:
    """One kernel argument. ``dtype`` is of the pointee for a pointer (``bf16``...), else ``i64 i32 f32 f64``.
    ``aligned``: the pointer or value is divisible by 16 (bytes, elements), which the run time guarantees."""

    name: str
    source: ArgumentSource
    dtype: str
    aligned: bool = False


@dataclass(frozen=True, slots=True)
class GridFactor:
    """``ceil(size(i) * size(j) * ... / tile)`` programs; the grid is the product of its factors."""

    indices: tuple[str, ...]
    tile: int = 1


@dataclass(frozen=True, slots=True)
class Buffer:
    """An output or temporary, contiguous and row-major: ``axes`` as index names, composites together.
    ``collects``: how what kernels send to computed places is summed there, if it is: in ``parts``, each by
    one thread, as the ``digits`` of an exact sum, or as integers, by ``counts``."""

    name: str
    axes: tuple[tuple[str, ...], ...]
    dtype: str
    is_output: bool
    collects: str = ""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One launch: the function's name in the source, its arguments in order, its compile-time constants."""

    name: str
    arguments: tuple[Argument, ...]
    constants: tuple[tuple[str, int], ...]
    grid: tuple[GridFactor, ...]
    num_warps: int
    num_stages: int
    max_registers: int | None = None

    def options(self) -> dict[str, int]:
        """What Triton's compiler is told."""
        limit = {} if self.max_registers is None else {"maxnreg": self.max_registers}
        return {"num_warps": self.num_warps, "num_stages": self.num_stages} | limit


@dataclass(frozen=True, slots=True)
class Program:
    """Everything a target needs. ``contiguous``: inputs whose innermost axis must have stride 1, with the
    divisibility (in elements) that the strides of their other axes and, in bytes x16, their pointer need."""

    source: str
    kernels: tuple[Kernel, ...]
    buffers: tuple[Buffer, ...]
    contiguous: tuple[tuple[str, int], ...] = ()

    def to_json(self) -> str:
        """Everything as JSON text."""
        data = asdict(self)
        for kernel, plain in zip(self.kernels, data["kernels"], strict=True):
            for argument, item in zip(kernel.arguments, plain["arguments"], strict=True):
                item["source"]["kind"] = type(argument.source).__name__
        return json.dumps(data, indent=1)

    @staticmethod
    def from_json(text: str) -> Program:
        """The inverse of ``to_json``. KeyError, TypeError or ValueError on anything else."""
        data = json.loads(text)
        return Program(
            source=data["source"],
            kernels=tuple(_kernel(item) for item in data["kernels"]),
            buffers=tuple(
                Buffer(
                    b["name"], tuple(tuple(a) for a in b["axes"]), b["dtype"], b["is_output"], b["collects"]
                )
                for b in data["buffers"]
            ),
            contiguous=tuple((name, divisor) for name, divisor in data["contiguous"]),
        )


def _kernel(data: dict[str, Any]) -> Kernel:
    arguments: list[Argument] = []
    for item in data["arguments"]:
        source = dict(item["source"])
        kind = _SOURCES[source.pop("kind")]
        arguments.append(Argument(item["name"], kind(**source), item["dtype"], item["aligned"]))
    return Kernel(
        name=data["name"],
        arguments=tuple(arguments),
        constants=tuple((name, value) for name, value in data["constants"]),
        grid=tuple(GridFactor(tuple(g["indices"]), g["tile"]) for g in data["grid"]),
        num_warps=data["num_warps"],
        num_stages=data["num_stages"],
        max_registers=data["max_registers"],
    )
