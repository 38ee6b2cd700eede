"""An account as text, for people."""

from __future__ import annotations

from collections.abc import Iterator

from attn_dsl.account.model import (
    Analysis,
    KernelAccount,
    LoopAccount,
    MaskAccount,
    Operations,
    ProgramAccount,
)

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_LONGEST = 200
_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def describe(analysis: Analysis) -> str:
    """The whole account."""
    sizes = ", ".join(f"{n}={v}" for n, v in analysis.sizes.items())
    params = "".join(f"; {n}={v}" for n, v in analysis.params.items())
    lines = [f"{analysis.name}: {sizes or 'no sizes given'}{params}; {analysis.dtype} on {analysis.device}"]
    lines += [f"note: {note}" for note in analysis.notes]
    if analysis.masks:
        lines += ["", "masks"]
    for mask in analysis.masks:
        lines += [f"  {line}" for line in _mask(mask)]
    for title, program in (("forward", analysis.forward), ("backward", analysis.backward)):
        if program is not None:
            lines += ["", title, *(f"  {line}" for line in _program(program))]
    return "\n".join(lines)


def _mask(mask: MaskAccount) -> Iterator[str]:
    yield f"{mask.name} = {mask.text}"
    if mask.live is not None:
        yield f"  live{_over(mask.indices)}: {mask.live}"
    if mask.formula:
        long = f"a formula of {len(mask.formula):,} characters, with breakpoints: to_dict() has it"
        told = mask.formula if len(mask.formula) <= _LONGEST else long
        yield f"  live{_over(mask.indices)} = {mask.simple or told}"
    if mask.no_formula:
        yield f"  no formula: {mask.no_formula}"
    if not mask.closed_form:
        yield f"  not in closed form: {mask.plan}"


def _over(indices: tuple[str, ...]) -> str:
    return f" over {' x '.join(indices)}" if indices else ""


def _program(program: ProgramAccount) -> Iterator[str]:
    yield f"contractions  {_operations(program.contractions, 'FLOP')}"
    yield f"pointwise     {_operations(program.pointwise, '')}"
    yield (
        f"memory        {_si(program.bytes)}B from and to device memory; {program.intensity:.0f} FLOP a byte; "
        f"the mask saves {program.speedup:.2f} times the work of all tiles"
    )
    for kernel in program.kernels:
        yield ""
        yield from _kernel(kernel)
    yield ""
    yield "least time (roofline)"
    for line in program.rooflines:
        parts = ", ".join(f"{n} {time_text(s)}" for n, s in line.parts.items())
        idle = "" if line.busy >= 1 else f"; only {line.busy:.2f} programs a processor"
        yield f"  {line.device:9}{time_text(line.seconds):>10}  {line.bound}-bound  ({parts}){idle}"


def _kernel(kernel: KernelAccount) -> Iterator[str]:
    tiles = " x ".join(f"{i}={n}" for i, n in (*kernel.row_tiles.items(), *kernel.stream_tiles.items()))
    yield f"kernel {kernel.name}: stores {', '.join(kernel.stores)}; {kernel.programs:,} programs; tiles {tiles}"
    yield f"  footprint {_si(kernel.footprint)}B a program; traffic of all programs {_si(kernel.traffic)}B"
    passes = kernel.passes
    if passes.count:
        written = "" if passes.written is None else f", {passes.written} as written"
        yield f"  passes: {passes.count} (at least {passes.bound}; {passes.hoisted} without folds{written})"
        yield from (f"    {line}" for line in passes.report.splitlines())
    for loop in kernel.loops:
        yield from (f"  {line}" for line in _loop(loop))


def _loop(loop: LoopAccount) -> Iterator[str]:
    tiles, most = loop.tiles, "" if loop.exact else "at most "
    yield f"over {', '.join(loop.stream)}: live {loop.live}"
    yield (
        f"  tiles: {most}{tiles.visited:,} visited of {tiles.total:,} ({tiles.full:,} full, {tiles.partial:,} partial, "
        f"{tiles.empty:,} empty)"
    )


def _operations(found: Operations, unit: str) -> str:
    return f"{_si(found.useful)}{unit} useful, {_si(found.executed)}{unit} executed, {_si(found.dense)}{unit} dense"


def count_text(number: float) -> str:
    """``1.2 G``."""
    return _si(number).strip()


def bytes_text(number: float) -> str:
    """``1.2 GB``."""
    return f"{_si(number)}B"


def _si(number: float) -> str:
    for scale, prefix in _PREFIXES:
        if number >= scale:
            return f"{number / scale:.3g} {prefix}"
    return f"{number:.3g} "


def time_text(seconds: float) -> str:
    """``1.2 ms``."""
    for scale, unit in _TIMES:
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return "0 s" if seconds == 0 else f"{seconds / 1e-9:.2g} ns"
