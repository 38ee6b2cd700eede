"""``compile`` and what it gives: a callable attention."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from attn_dsl.codegen.schedule import Schedule, require_usable
from attn_dsl.errors import ArgumentError, AttnError, Diagnostic, TargetError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.language.load import Specification, load_file, load_text
from attn_dsl.runtime import flops
from attn_dsl.runtime.autocast import cast, is_autocasting
from attn_dsl.runtime.autograd import is_transformed
from attn_dsl.runtime.cache import statistics
from attn_dsl.runtime.dispatch import is_watched
from attn_dsl.runtime.kernels import Kernels
from attn_dsl.runtime.mechanism import Mechanism
from attn_dsl.runtime.native_launch import PLAIN
from attn_dsl.runtime.operators import operator
from attn_dsl.runtime.params import resolve_params
from attn_dsl.runtime.sizes import DTYPES, NAMES, bind, by_name, conforming, number_dtype

if TYPE_CHECKING:
    from attn_dsl.account.model import Analysis
    from attn_dsl.report.picture import Picture

TARGETS = ("triton", "cpu", "interpreter")


def compile(
    source: str | Path, /, *, target: str | None = None, schedule: Schedule | None = None,
    params: Mapping[str, Any] | None = None, **param_values: Any,
) -> Attention:  # fmt: skip
    """Read an ``.attn`` file (a path) or text (a str with a newline) and give its attention.

    ``params`` and further keywords set the file's params. ``target``: ``triton`` (CUDA, ROCm), ``cpu`` (C++,
    built by the system's compiler) or ``interpreter`` (the Triton kernels by Triton's interpreter, slow, for
    testing); None takes what fits the arguments' device. Raises LanguageError for a bad file, ArgumentError
    for bad params, TargetError.
    """
    if target is not None and target not in TARGETS:
        raise TargetError(Diagnostic(f"there is no target '{target}'", help=f"one of {', '.join(TARGETS)}"))
    _require_schedule(schedule)
    is_text = isinstance(source, str) and "\n" in source
    specification = load_text(str(source)) if is_text else load_file(source)
    given = {**(params or {}), **param_values}
    with _sources(specification):
        values = resolve_params(specification.cascade, given)
    return Attention(specification, values, target, schedule or Schedule())


def _require_schedule(given: object) -> None:
    if given is not None and not isinstance(given, Schedule):
        example = "Schedule(row_tile=64, stream_tile=64)"
        raise ArgumentError(Diagnostic(f"schedule is of type {type(given).__name__}", help=f"give {example}"))
    if isinstance(given, Schedule):
        require_usable(given)


def _dtype(given: object) -> torch.dtype:
    """A floating dtype of torch's, or by its name in a file."""
    found = DTYPES.get(given) if isinstance(given, str) else given
    if isinstance(found, torch.dtype) and found in NAMES and found.is_floating_point:
        return found
    raise ArgumentError(
        Diagnostic(
            f"there are no kernels for dtype {given!r}",
            help="one of bf16, f16, f32, f64; or torch.bfloat16, ...",
        )
    )


@contextmanager
def _sources(specification: Specification) -> Generator[None]:
    """Errors raised inside show the lines they speak of."""
    try:
        yield
    except AttnError as error:
        error.sources = {**specification.sources, **error.sources}
        raise


class Attention:
    """A compiled mechanism. Call it with its inputs, by position or by name; outputs come in order."""

    def __init__(
        self, specification: Specification, params: Mapping[str, int | float | bool], target: str | None,
        schedule: Schedule,
    ) -> None:  # fmt: skip
        self.specification = specification
        self.params = dict(params)
        self.target = target
        self.schedule = schedule
        self._mechanism = Mechanism(self.cascade, self.params, schedule, target)
        self.kernels = self._mechanism.kernels
        self._names = tuple(i.name for i in self.cascade.inputs)
        self.operator = operator(self._mechanism)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "operator": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.operator = operator(self._mechanism)

    @property
    def cascade(self) -> Cascade:
        """The resolved cascade."""
        return self.specification.cascade

    @property
    def name(self) -> str:
        """The name the file gives it."""
        return self.cascade.name

    def __repr__(self) -> str:
        params = "".join(f", {n}={v}" for n, v in self.params.items())
        inputs = ", ".join(i.name for i in self.cascade.inputs)
        return f"<attention {self.name}({inputs}){params}>"

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the kernels. ArgumentError where arguments do not fit the file."""
        if torch.compiler.is_compiling():
            return self._traced(args, kwargs)
        watched = is_watched()
        plain = not (watched or is_transformed() or is_autocasting())
        ready = self.kernels.ready(args, torch.is_grad_enabled()) if plain and not kwargs else None
        if ready is not None:
            statistics.memory_hits += 1
            return self._results(ready.run(args))
        with _sources(self.specification):
            given = by_name(self.cascade, args, kwargs)
            if watched:
                flops.tell()
            if watched or any(map(_is_abstract, given.values())):
                return self._traced(args, kwargs)
            return self._results(self._mechanism.call(conforming(self.cascade, cast(self.cascade, given))))

    def reference(self, /, *args: Any, dtype: torch.dtype = torch.float64, **kwargs: Any) -> Any:
        """What the file means, computed densely in ``dtype``: quadratic memory, for checking."""
        from attn_dsl.reference import evaluate

        with _sources(self.specification):
            bound = bind(self.cascade, self.params, args, kwargs)
            found = evaluate(self.cascade, self.params, bound.arguments, bound.sizes, dtype)
            return self._results([found[o.name] for o in self.cascade.outputs])

    def source(
        self,
        /,
        target: str = "triton",
        dtype: torch.dtype | str = torch.bfloat16,
        architecture: str = "cuda:90",
        *,
        backward: bool = False,
        **sizes: int,
    ) -> str:
        """The generated source for ``triton`` (of an architecture) or ``cpu``, for floating inputs of
        ``dtype`` and features of 64 where no size is given; ``backward``: of the backward pass, for all
        floating inputs. For ``triton`` with the schedule the table begins with: one that spills registers
        gives way to the next when a program is built."""
        if target not in ("triton", "cpu"):
            raise TargetError(Diagnostic(f"there is no source for target '{target}'", help="triton or cpu"))
        architecture = "cpu" if target == "cpu" else architecture
        from attn_dsl.codegen import generate

        with _sources(self.specification):
            dtype = _dtype(dtype)
            kernels = self._kernels(backward, dtype)
            return generate(*kernels.wanted(*_typical(kernels, dtype, sizes), architecture)).source

    def lower(
        self,
        /,
        architecture: str,
        dtype: torch.dtype | str = torch.bfloat16,
        *,
        backward: bool = False,
        **sizes: int,
    ) -> tuple[Any, ...]:
        """Compile ahead of time for ``cuda:80``, ``cuda:90``, ``cuda:100``, ``hip:gfx942``...; no GPU is
        needed. The resources of each kernel, in order; ``backward``: of the backward pass."""
        from attn_dsl.runtime.ahead_of_time import lower, require_known

        with _sources(self.specification):
            dtype = _dtype(dtype)
            require_known(architecture)
            kernels = self._kernels(backward, dtype)
            dtypes, known = _typical(kernels, dtype, sizes)
            entry = kernels.entry(kernels.wanted(dtypes, known, architecture), known)
            return lower(entry, architecture)

    def analyze(
        self, /, *, dtype: torch.dtype | str | None = None, device: str | None = None,
        tiles: tuple[int, int] | None = None, tensors: Mapping[str, torch.Tensor] | None = None,
        backward: bool = False, **sizes: int,
    ) -> Analysis:  # fmt: skip
        """What it costs and why, without running anything: live pairs, tiles, operations, bytes, the least
        time.

        ``sizes``: of indices, ``i=8192, j=8192, b=1, d=128``; the length of what is tiled must be given,
        features are 64 and other indices 1 where they are not. ``device``: ``A100``, ``H100`` (the default),
        ``H200``, ``B200``, ``MI300X``, or ``cpu``, which is measured; ``tiles``: (rows, stream), else the
        schedule's own. ``tensors``: samples of the data that masks read (document ids, lengths), by input;
        without them, bounds. ``backward``: also the backward pass. Without sizes: formulas. ArgumentError,
        NotLoweredError."""
        from attn_dsl.account.analysis import DEFAULT_DEVICE, Request, analyse

        with _sources(self.specification):
            row, stream = self.schedule.row_tile, self.schedule.stream_tile
            chosen = tiles or ((row, stream) if row and stream else None)
            return analyse(
                Request(
                    self.cascade,
                    self.params,
                    sizes,
                    dtype,
                    device or DEFAULT_DEVICE,
                    chosen,
                    tensors,
                    backward,
                )
            )

    def picture(
        self, /, kind: str = "mask", *, tensor: str | None = None, tensors: Mapping[str, torch.Tensor] | None = None,
        tiles: tuple[int, int] | None = None, dtype: torch.dtype | str | None = None, device: str | None = None,
        **sizes: int,
    ) -> Picture:  # fmt: skip
        """What it looks like: ``mask``, the pairs and tiles; ``tiles`` alone; ``weights``; ``roofline``;
        ``histogram``, of tiles by kind. ``str()`` of it is text, ``.save("mask.png")`` draws it by
        matplotlib.

        ``tensors``: inputs, by name; those that are needed and not given are made up, which the picture says.
        ``tensor``: for weights, which; by default the last over rows and keys. ``sizes``, ``dtype``,
        ``device``, ``tiles``: as ``analyze``; lengths that are not given are such that what the params bound
        shows. ArgumentError, NotLoweredError."""
        from attn_dsl.account.analysis import DEFAULT_DEVICE
        from attn_dsl.report.masks import MaskRequest
        from attn_dsl.report.picture import picture

        with _sources(self.specification):
            row, stream = self.schedule.row_tile, self.schedule.stream_tile
            chosen = tiles or ((row, stream) if row and stream else None)
            request = MaskRequest(
                self.cascade, self.params, sizes, tensors or {}, chosen, device or DEFAULT_DEVICE, dtype
            )
            return picture(request, kind, tensor)

    # from arguments to results

    def _results(self, outputs: Sequence[torch.Tensor]) -> Any:
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _traced(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """A call of the operator, in a form that torch.compile can trace. What does not fit is told by the
        operator."""
        given = dict(zip(self._names, args, strict=False)) | dict(kwargs)
        if len(given) != len(args) + len(kwargs) or any(n not in given for n in self._names):
            return self.operator(*args, **kwargs)
        return self.operator(*operands(self.cascade, [given[n] for n in self._names]))

    def _kernels(self, backward: bool, dtype: torch.dtype) -> Kernels:
        """Those of the mechanism, or of its backward pass."""
        if not backward:
            return self.kernels
        from attn_dsl.differentiation.active import differentiable_inputs

        wanted = differentiable_inputs(self.cascade)
        if not wanted:
            raise ArgumentError(Diagnostic(f"{self.name} has no floating input to differentiate by"))
        real = "f64" if dtype == torch.float64 else "f32"
        return self._mechanism.differentiable(real).training(wanted).backward_pass.kernels


def operands(cascade: Cascade, values: Sequence[Any]) -> list[torch.Tensor]:
    """The arguments of an operator, which are tensors all, from those of a call in the order of the file."""
    given = {i.name: value for i, value in zip(cascade.inputs, values, strict=True)}
    device = next((v.device for v in values if isinstance(v, torch.Tensor) and v.dim()), torch.device("cpu"))
    return [
        value if declared.axes else value.to(device) if isinstance(value, torch.Tensor)
        else torch.full((), value, dtype=number_dtype(declared, given), device=device)
        for value, declared in zip(values, cascade.inputs, strict=True)
    ]  # fmt: skip


def _is_abstract(value: object) -> bool:
    """Whether torch is to see a call with this argument as an operator: a tensor of a subclass, or without
    data."""
    return isinstance(value, torch.Tensor) and (type(value) not in PLAIN or value.is_meta)


def _typical(
    kernels: Kernels, dtype: torch.dtype, sizes: Mapping[str, int]
) -> tuple[tuple[tuple[str, str], ...], dict[str, int]]:
    """Dtypes and sizes where there are no arguments to take them from."""
    from attn_dsl.runtime.typical import typical_sizes

    dtypes = tuple((i.name, i.dtype or NAMES[dtype]) for i in kernels.cascade.inputs)
    whole = kernels.plans.at(sizes).whole
    return dtypes, {**sizes, **dict(typical_sizes(kernels.cascade, kernels.params, whole, sizes))}


__all__ = ["DTYPES", "Attention", "compile"]
