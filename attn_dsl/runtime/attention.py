"""``compile`` and what it gives: a callable attention."""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from attn_dsl.codegen.schedule import Schedule
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.errors import ArgumentError, AttnError, Diagnostic, NotLoweredError, TargetError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.printer import cascade_key
from attn_dsl.language.load import Specification, load_file, load_text
from attn_dsl.runtime.cache import Entry, entry_key, load_or_build, statistics
from attn_dsl.runtime.native import find_compiler
from attn_dsl.runtime.native_launch import Prepared, signature
from attn_dsl.runtime.params import resolve_params
from attn_dsl.runtime.sizes import DTYPES, NAMES, Bound, bind, sizes_follow_from_shapes
from attn_dsl.version import __version__

TARGETS = ("triton", "cpu", "interpreter")


def compile(
    source: str | Path, /, *, target: str | None = None, schedule: Schedule | None = None,
    params: Mapping[str, Any] | None = None, **param_values: Any,
) -> Attention:  # fmt: skip
    """Read an ``.attn`` file (a path) or text (a str with a newline) and give its attention.

    ``params`` and further keywords set the file's params. ``target``: ``triton`` (CUDA, ROCm), ``cpu``
    (C++, built by the system's compiler) or ``interpreter`` (the Triton kernels by Triton's interpreter, slow, for
    testing); None takes what fits the arguments' device. Raises LanguageError for a bad file, ArgumentError for bad params, TargetError.
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
        self._programs: dict[tuple[Any, ...], Any] = {}
        self._prepared: dict[tuple[Any, ...], Prepared] = {}

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

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_programs": {}, "_prepared": {}}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the kernels. ArgumentError where arguments do not fit the file."""
        known = None if kwargs or not self._prepared else signature(args)
        ready = None if known is None else self._prepared.get(known)
        if ready is not None:
            statistics.memory_hits += 1
            outputs = ready.run(args)
            return outputs[0] if len(outputs) == 1 else tuple(outputs)
        with _sources(self.specification):
            bound = bind(self.cascade, self.params, args, kwargs)
            self._refuse_gradients(bound)
            device = next((a.device for a in bound.arguments.values()), torch.device("cpu"))
            architecture = self._architecture(device)
            run = self._run_native if architecture == "cpu" else self._run
            if architecture == "cpu" and self.target is None and find_compiler() is None:
                from attn_dsl.runtime.without_compiler import by_reference

                return self._results(by_reference(self.cascade, self.params, bound))
            return self._results(run(bound, architecture))

    def reference(self, *args: Any, dtype: torch.dtype = torch.float64, **kwargs: Any) -> Any:
        """What the file means, computed densely in ``dtype``: quadratic memory, for checking."""
        from attn_dsl.reference import evaluate

        with _sources(self.specification):
            bound = bind(self.cascade, self.params, args, kwargs)
            return self._results(evaluate(self.cascade, self.params, bound.arguments, bound.sizes, dtype))

    def source(
        self,
        target: str = "triton",
        dtype: torch.dtype = torch.bfloat16,
        architecture: str = "cuda:90",
        **sizes: int,
    ) -> str:
        """The generated source for ``triton`` (of an architecture) or ``cpu``, for floating inputs of ``dtype`` and
        features of 64 where no size is given. For ``triton`` with the schedule the table begins with: one that
        spills registers gives way to the next when a program is built."""
        if target not in ("triton", "cpu"):
            raise TargetError(Diagnostic(f"there is no source for target '{target}'", help="triton or cpu"))
        architecture = "cpu" if target == "cpu" else architecture
        from attn_dsl.codegen import generate

        with _sources(self.specification):
            spec = self._specialisation(self._typical(dtype), self._whole(sizes), architecture)
            return generate(self.cascade, spec).source

    def lower(self, architecture: str, dtype: torch.dtype = torch.bfloat16, **sizes: int) -> tuple[Any, ...]:
        """Compile ahead of time for ``cuda:80``, ``cuda:90``, ``cuda:100``, ``hip:gfx942``...; no GPU is needed.
        The resources of each kernel, in order."""
        from attn_dsl.runtime.ahead_of_time import lower

        with _sources(self.specification):
            return lower(self._entry(self._typical(dtype), self._whole(sizes), architecture), architecture)

    # from arguments to a program

    def _refuse_gradients(self, bound: Bound) -> None:
        if torch.is_grad_enabled() and any(a.requires_grad for a in bound.arguments.values()):
            raise NotLoweredError(
                Diagnostic(
                    f"{self.name} has no backward kernels yet",
                    help="call it under torch.no_grad(), or take gradients through .reference(...)",
                )
            )

    def _results(self, outputs: Mapping[str, torch.Tensor]) -> Any:
        values = tuple(outputs[o.name] for o in self.cascade.outputs)
        return values[0] if len(values) == 1 else values

    def _architecture(self, device: torch.device) -> str:
        target = self.target or ("triton" if device.type == "cuda" else "cpu")
        if target != "triton":
            if device.type != "cpu":
                raise TargetError(
                    Diagnostic(
                        f"target '{target}' takes CPU tensors, the arguments are on {device}",
                        help="there are kernels for cpu and cuda tensors: .to(...)",
                    )
                )
            return target
        if device.type != "cuda":
            raise TargetError(
                Diagnostic(
                    f"target 'triton' needs a GPU, the arguments are on {device}", help="leave out target="
                )
            )
        if torch.version.hip:
            return f"hip:{torch.cuda.get_device_properties(device).gcnArchName.split(':')[0]}"
        major, minor = torch.cuda.get_device_capability(device)
        return f"cuda:{major}{minor}"

    def _run(self, bound: Bound, architecture: str) -> dict[str, torch.Tensor]:
        from attn_dsl.runtime.launch import load, run

        loaded = self._loaded(
            bound, architecture, lambda e: load(e, by_interpreter=architecture == "interpreter")
        )
        return run(loaded, bound.arguments, bound.sizes, self.params)

    def _run_native(self, bound: Bound, architecture: str) -> dict[str, torch.Tensor]:
        from attn_dsl.runtime.native import load_library

        arguments = tuple(bound.arguments.values())
        program, library = self._loaded(
            bound, architecture, lambda e: (e.program, load_library(e.binary or e.source))
        )
        prepared = Prepared(program, library, bound.arguments, bound.sizes, self.params)
        key = signature(arguments)
        if key is not None and sizes_follow_from_shapes(self.cascade):
            self._prepared[key] = prepared
        outputs = prepared.run(arguments)
        return dict(zip((o.name for o in self.cascade.outputs), outputs, strict=True))

    def _loaded(self, bound: Bound, architecture: str, load: Callable[[Entry], Any]) -> Any:
        """The loaded program for these arguments, kept in memory."""
        dtypes = tuple((n, NAMES[t.dtype]) for n, t in bound.arguments.items())
        whole = tuple((i, bound.sizes[i]) for i in self._whole_indices())
        key = (architecture, dtypes, whole, torch.get_float32_matmul_precision())
        loaded = self._programs.get(key)
        if loaded is None:
            loaded = load(self._entry(dtypes, whole, architecture))
            self._programs[key] = loaded
        else:
            statistics.memory_hits += 1
        return loaded

    def _whole_indices(self) -> tuple[str, ...]:
        if ("whole",) not in self._programs:
            from attn_dsl.codegen import whole_indices

            self._programs[("whole",)] = whole_indices(self.cascade)
        return self._programs[("whole",)]

    def _whole(self, sizes: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
        from attn_dsl.runtime.typical import typical_sizes

        return typical_sizes(self.cascade, self.params, self._whole_indices(), sizes)

    def _typical(self, dtype: torch.dtype) -> tuple[tuple[str, str], ...]:
        return tuple((i.name, i.dtype or NAMES[dtype]) for i in self.cascade.inputs)

    def _entry(
        self, dtypes: tuple[tuple[str, str], ...], whole: tuple[tuple[str, int], ...], architecture: str
    ) -> Entry:
        from attn_dsl.codegen import generate

        spec = self._specialisation(dtypes, whole, architecture)
        parts = [cascade_key(self.cascade), repr(spec), *_versions()]
        if architecture == "cpu":
            from attn_dsl.runtime.native import compile_native, toolchain

            key = entry_key(*parts, *toolchain())
            return load_or_build(key, lambda: generate(self.cascade, spec), compile_native)
        if architecture == "interpreter":
            return load_or_build(entry_key(*parts), lambda: generate(self.cascade, spec))
        from attn_dsl.runtime.fitting import fitted

        return load_or_build(entry_key(*parts), lambda: fitted(self.cascade, spec))

    def _specialisation(
        self, dtypes: tuple[tuple[str, str], ...], whole: tuple[tuple[str, int], ...], architecture: str
    ) -> Specialisation:
        from attn_dsl.codegen.binding import launch_params

        at_launch = launch_params(self.cascade)
        params = tuple((n, v) for n, v in self.params.items() if n not in at_launch)
        precision = "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
        return Specialisation(params, dtypes, whole, architecture, self.schedule, precision)


def _versions() -> tuple[str, ...]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        triton = version("triton")
    except PackageNotFoundError:
        triton = "none"
    return __version__, triton, torch.__version__, platform.python_version(), _code_version()


_CODE: list[str] = []


def _code_version() -> str:
    """A hash of the generator itself, so that a changed checkout does not find its old programs."""
    if not _CODE:
        import hashlib

        import attn_dsl

        root = Path(attn_dsl.__file__).parent
        digest = hashlib.sha256()
        for folder in ("codegen", "templates", "grammar", "rewrites", "analysis"):
            for path in sorted((root / folder).rglob("*")):
                if path.suffix in (".py", ".j2", ".h", ".attn"):
                    digest.update(path.read_bytes())
        _CODE.append(digest.hexdigest())
    return _CODE[0]


__all__ = ["DTYPES", "Attention", "compile"]
