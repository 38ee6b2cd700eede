"""The kernels of one cascade: generated, built, cached and launched for whatever arguments come.

A mechanism has one set of kernels for its forward pass; one that is trained has two more, a forward pass that
keeps what its backward pass reads, and that backward pass.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from attn_dsl.analysis.widths import NARROW_EXTENT, NARROW_PARAM
from attn_dsl.codegen.schedule import Schedule
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.errors import Diagnostic, TargetError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.printer import cascade_key
from attn_dsl.runtime.cache import Entry, entry_key, load_or_build, statistics
from attn_dsl.runtime.memory import stored
from attn_dsl.runtime.native_launch import Prepared, signature
from attn_dsl.runtime.profiling import named
from attn_dsl.runtime.sizes import NAMES, sizes_follow_from_shapes
from attn_dsl.version import __version__

if TYPE_CHECKING:
    from attn_dsl.codegen.program import Buffer, Program
    from attn_dsl.differentiation.memory import Pairs
    from attn_dsl.planning import Plans, ProgramPlan

Params = Mapping[str, int | float | bool]
Wanted = tuple["ProgramPlan", Specialisation]
MOST_SHAPES = 1024


class Kernels:
    """The kernels of a cascade with given params. ``presences``: that of its `Specialisation`; ``pairs``: of
    a derivative, what it must not store."""

    def __init__(
        self, cascade: Cascade, params: Params, schedule: Schedule,
        presences: tuple[tuple[str, tuple[str, ...]], ...] = (), pairs: Pairs | None = None,
    ) -> None:  # fmt: skip
        self.cascade = cascade
        self.pairs = pairs
        self.params = params
        self.schedule = schedule
        self.presences = presences
        self._programs: dict[Wanted, Any] = {}
        self._prepared: dict[tuple[Any, ...], Prepared] = {}
        self._plans: Plans | None = None
        self._required: tuple[Wanted, Program] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_programs": {}, "_prepared": {}, "_required": None, "_plans": None}

    # calls

    def ready(self, arguments: Sequence[Any], differentiated: bool = False) -> Prepared | None:
        """What runs such arguments at once, if they have been met before; only on a CPU, and none that want
        gradients where the call is ``differentiated``."""
        known = signature(arguments, differentiated) if self._prepared else None
        return None if known is None else self._prepared.get(known)

    def run(
        self, arguments: Mapping[str, torch.Tensor], sizes: Mapping[str, int], architecture: str
    ) -> dict[str, torch.Tensor]:
        """Launch the kernels: the outputs in order, then the presence of what is kept. ``arguments``: the
        inputs, then what is saved and its presence."""
        if architecture != "cpu":
            return self._run_triton(stored(arguments), sizes, architecture)
        given = tuple(arguments.values())
        key = signature(given) if sizes_follow_from_shapes(self.cascade) else None
        prepared = None if key is None else self._prepared.get(key)
        if prepared is None:
            arguments = stored(arguments)
            given = tuple(arguments.values())
            prepared = self._prepare(arguments, sizes)
            if key is not None:
                remember(self._prepared, key, prepared)
        else:
            statistics.memory_hits += 1
        return dict(zip(prepared.results, prepared.run(given), strict=True))

    def _prepare(self, arguments: Mapping[str, torch.Tensor], sizes: Mapping[str, int]) -> Prepared:
        """The native kernels for arguments of this signature."""
        from attn_dsl.runtime.native import load_library

        program, library = self._loaded(
            arguments, sizes, "cpu", lambda e: (e.program, load_library(e.binary or e.source))
        )
        return Prepared(program, library, arguments, sizes, self.params, self.cascade.name)

    def _run_triton(
        self, arguments: Mapping[str, torch.Tensor], sizes: Mapping[str, int], architecture: str
    ) -> dict[str, torch.Tensor]:
        from attn_dsl.runtime.launch import load, run

        by_interpreter = architecture == "interpreter"
        loaded = self._loaded(
            arguments, sizes, architecture, lambda e: load(e, by_interpreter=by_interpreter)
        )
        with named(self.cascade.name):
            return run(loaded, arguments, sizes, self.params)

    def _loaded(
        self, arguments: Mapping[str, torch.Tensor], sizes: Mapping[str, int], architecture: str,
        load: Callable[[Entry], Any],
    ) -> Any:  # fmt: skip
        """The loaded program for these arguments, kept in memory."""
        dtypes = tuple((i.name, NAMES[arguments[i.name].dtype]) for i in self.cascade.inputs)
        wanted = self.wanted(dtypes, sizes, architecture)
        loaded = self._programs.get(wanted)
        if loaded is None:
            loaded = load(self.entry(wanted, sizes))
            self._programs[wanted] = loaded
        else:
            statistics.memory_hits += 1
        return loaded

    # results

    def result_axes(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """The layouts of results: for every axis the indices it is composed of."""
        from attn_dsl.analysis.logic import PRESENT

        flags = {PRESENT + t: tuple((d,) for d in dims) for t, dims in self.presences}
        return {o.name: tuple(a.indices for a in o.axes) for o in self.cascade.outputs} | flags

    def results(self, dtypes: Mapping[str, str]) -> tuple[Buffer, ...]:
        """What ``run`` gives for inputs of these dtypes, known without a program."""
        from attn_dsl.codegen.results import results

        return results(self.plans.at({}), dtypes)

    # programs

    @property
    def plans(self) -> Plans:
        """What is computed by which kernel, for whatever extents. NotLoweredError where something is by
        none."""
        if self._plans is None:  # asked at every call
            from attn_dsl.planning import plans

            self._plans = plans(self.cascade, self.params, self.presences)
        return self._plans

    def wanted(
        self, dtypes: tuple[tuple[str, str], ...], sizes: Mapping[str, int], architecture: str
    ) -> Wanted:
        """The plan for these sizes (of those indices at least that a tile holds), and what a program of it
        for these dtypes is specialised on."""
        plan = self.plans.at(sizes)
        whole = tuple((i, sizes[i]) for i in plan.whole)
        precision = "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
        wide = self._is_wide(sizes)
        return plan, Specialisation(dtypes, whole, architecture, self.schedule, precision, wide)

    def _is_wide(self, sizes: Mapping[str, int]) -> bool:
        """Whether a call goes beyond what 32 bits have been proved to be enough for."""
        fixed = self.plans.params
        at_launch = [abs(int(v)) for n, v in self.params.items() if n not in fixed]
        return max(sizes.values(), default=0) > NARROW_EXTENT or max(at_launch, default=0) >= NARROW_PARAM

    def entry(self, wanted: Wanted, sizes: Mapping[str, int]) -> Entry:
        """The program from the disk cache, built where it is not there. ``sizes``: of the call that wants
        it."""
        plan, spec = wanted
        told = (*plan.params.items(), *plan.presences, plan.shape)
        parts = [cascade_key(self.cascade), repr(told), repr(spec), *_versions()]
        if spec.architecture == "cpu":
            from attn_dsl.runtime.native import compile_native, toolchain

            key = entry_key(*parts, *toolchain())
            return load_or_build(
                key,
                lambda: self._generated(wanted, sizes),
                compile_native,
                _described(self.cascade.name, spec),
            )
        key = entry_key(*parts)
        return load_or_build(
            key, lambda: self._generated(wanted, sizes), what=_described(self.cascade.name, spec)
        )

    def require(self, dtypes: Mapping[str, str], sizes: Mapping[str, int], architecture: str) -> None:
        """NotLoweredError where there is no program for these; its source is kept for whoever builds it
        next."""
        declared = tuple((i.name, dtypes[i.name]) for i in self.cascade.inputs)
        if self._required is None:
            wanted = self.wanted(declared, sizes, architecture)
            self._required = wanted, self._generated(wanted, sizes)

    def _generated(self, wanted: Wanted, sizes: Mapping[str, int]) -> Program:
        if self._required is not None and self._required[0] == wanted:
            return self._required[1]
        from attn_dsl.codegen import generate
        from attn_dsl.codegen.targets import target_of
        from attn_dsl.runtime.fitting import fitted

        plan, spec = wanted
        refined = bool(target_of(spec.architecture).refinements)
        program = fitted(plan, spec) if refined else generate(plan, spec)
        if self.pairs is not None:
            self.pairs.refuse(program, self.cascade, sizes)
        return program


def remember(known: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep what belongs to a set of shapes; of very many, the latest."""
    while len(known) >= MOST_SHAPES:
        known.pop(next(iter(known)), None)
    known[key] = value


def _described(name: str, spec: Specialisation) -> str:
    """A program for the log: of what, and what made it another than those there are."""
    parts = (*(f"{n}: {dtype}" for n, dtype in spec.dtypes), *(f"{n}={size}" for n, size in spec.sizes))
    return f"{name} for {spec.architecture} ({', '.join(parts)})"


def architecture_for(target: str | None, device: torch.device) -> str:
    """The architecture that runs tensors of a device. TargetError where the target does not take them."""
    target = target or ("triton" if device.type == "cuda" else "cpu")
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


def _versions() -> tuple[str, ...]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        triton = version("triton")
    except PackageNotFoundError:
        triton = "none"
    return __version__, triton, torch.__version__, platform.python_version(), _code_version()


# What a program is made by.
CODE = ("grammar", "ir", "rewrites", "analysis", "planning", "differentiation", "codegen", "templates")
_CODE: list[str] = []


def _code_version() -> str:
    """A hash of the generator itself, so that a changed checkout does not find its old programs."""
    if not _CODE:
        import hashlib

        import attn_dsl

        root = Path(attn_dsl.__file__).parent
        digest = hashlib.sha256()
        for folder in CODE:
            for path in sorted((root / folder).rglob("*")):
                if path.suffix in (".py", ".j2", ".h", ".attn"):
                    digest.update(path.read_bytes())
        _CODE.append(digest.hexdigest())
    return _CODE[0]
