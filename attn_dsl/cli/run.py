"""``attn run``: one call on random input, beside what the file means."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attn_dsl.cli.arguments import (
    dtype_option,
    file_argument,
    json_option,
    param_option,
    parse_params,
    parse_sizes,
    size_option,
    target_option,
)
from attn_dsl.cli.lowering import example_params
from attn_dsl.cli.output import say, say_json
from attn_dsl.ir.dtypes import DTYPES
from attn_dsl.language.load import load_file

if TYPE_CHECKING:
    import torch

    from attn_dsl.runtime.attention import Attention

_CALLS, _PATIENCE, _LONG = 20, 2.0, 60.0  # calls after the first, and seconds


@dataclass(frozen=True, slots=True)
class Comparison:
    """One result beside its reference. ``difference``: the largest, absolute; ``scale``: the largest
    magnitude of the reference; infinities and NaN agree where both have them. ``judged``: which part of
    it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    difference: float
    scale: float
    agrees: bool
    judged: str = ""


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A result for which the reference is too large, however few of its elements are asked for."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of the first call, and the median of those after it; None where there was no time for more."""

    first: float
    steady: float | None


@click.command("run", short_help="Run on random input beside the reference")
@file_argument
@param_option
@size_option
@dtype_option("f32")
@click.option("--device", type=click.Choice(("cpu", "cuda")), help="Default: the GPU where there is one.")
@target_option("triton", "cpu", "interpreter")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random input.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    file: Path,
    params: tuple[str, ...],
    sizes: tuple[str, ...],
    dtype: str,
    device: str | None,
    target: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Run a file's kernels on random input and compare the results with the dense reference.

    This is a first look, with a loose bound and where that does not hold a derived one; 'attn test' is the
    judge. Where the reference is too large, it is evaluated for some rows only. Without a GPU the kernels are
    native C++; '--target interpreter' runs the GPU's instead, slowly: keep the sizes small.

    \b
    Examples:
      attn run my.attn
      attn run my.attn -p window=32 --size i=200 --size j=200 --dtype bf16

    Exit status: 0 the results agree, or the reference is too large for any of them; 1 they do not, or the
    file is wrong; 2 wrong usage.
    """
    import torch

    import attn_dsl

    if device == "cuda" and not torch.cuda.is_available():
        raise click.UsageError("--device cuda: torch finds no GPU here")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    cascade = load_file(file).cascade
    values = example_params(cascade, parse_params(cascade, params))
    extents = parse_sizes(cascade, sizes)
    attention = attn_dsl.compile(file, params=values, target=target)
    inputs = _inputs(cascade, values, extents, dtype, device, seed)
    with torch.no_grad():
        results, seconds = _timed(attention, inputs)
        found = _judged(attention, inputs, results, dtype, seed)
    _report(file, inputs, device, seconds, found, as_json)
    ctx.exit(0 if all(isinstance(c, Unjudged) or c.agrees for c in found) else 1)


def _timed(attention: Attention, inputs: dict[str, torch.Tensor]) -> tuple[tuple[torch.Tensor, ...], Seconds]:
    """The results, and what a call takes: the first, and then as many as there is time for."""
    results, first = _call(attention, inputs)
    warm: list[float] = []
    while len(warm) < _CALLS and sum(warm) < _PATIENCE and first < _LONG:
        warm.append(_call(attention, inputs)[1])
    return results, Seconds(first, statistics.median(warm) if warm else None)


def _call(attention: Attention, inputs: dict[str, torch.Tensor]) -> tuple[tuple[torch.Tensor, ...], float]:
    import torch

    start = time.perf_counter()
    results = _as_tuple(attention(*inputs.values()))
    if results[0].is_cuda:
        torch.cuda.synchronize(results[0].device)
    return results, time.perf_counter() - start


def _judged(
    attention: Attention,
    inputs: dict[str, torch.Tensor],
    results: tuple[torch.Tensor, ...],
    dtype: str,
    seed: int,
) -> list[Comparison | Unjudged]:
    """Every result beside the reference, where need be at some places only."""
    from attn_dsl.runtime.sizes import bind
    from attn_dsl.testing.sampling import subjects
    from attn_dsl.testing.tolerance import compare as judged

    bound = bind(attention.cascade, attention.params, (), inputs)
    judges = subjects(attention.cascade, bound.arguments, bound.sizes, seed)
    found: list[Comparison | Unjudged] = []
    for (name, subject), result in zip(judges.items(), results, strict=True):
        if subject is None:
            found.append(Unjudged(name, tuple(result.shape), _dtype_name(result)))
            continue
        part = subject.of(result)
        one = compare(name, part, subject.expected(attention.params), dtype)
        agrees = one.agrees or not judged(part, subject.bounded(attention.params)).wrong
        found.append(replace(one, shape=tuple(result.shape), agrees=agrees, judged=subject.extent))
    return found


def _inputs(
    cascade: Any, params: dict[str, Any], sizes: dict[str, int], dtype: str, device: str, seed: int
) -> dict[str, torch.Tensor]:
    import torch

    from attn_dsl.runtime.random_inputs import example_sizes, random_arguments

    kind = getattr(torch, DTYPES[dtype].torch)
    return random_arguments(cascade, example_sizes(cascade, params, sizes), kind, device, seed)


def _as_tuple(results: Any) -> tuple[torch.Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)


def compare(name: str, result: torch.Tensor, expected: torch.Tensor, dtype: str) -> Comparison:
    """A result beside its reference; they agree within 32 roundings of the largest value."""
    import torch

    one, two = result.to(torch.float64), expected.to(torch.float64)
    scale = torch.nan_to_num(two, nan=0, posinf=0, neginf=0).abs()
    largest = float(scale.max()) if scale.numel() else 0.0
    bound = 32 * 2.0 ** -DTYPES[dtype].digits * max(largest, 1.0)
    agrees = torch.allclose(one, two, rtol=0, atol=bound, equal_nan=True)
    gap = torch.nan_to_num((one - two).abs(), nan=0.0)
    difference = float(gap.max()) if gap.numel() else 0.0
    return Comparison(name, tuple(result.shape), _dtype_name(result), difference, largest, agrees)


def _dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _report(
    file: Path,
    inputs: dict[str, torch.Tensor],
    device: str,
    seconds: Seconds,
    found: list[Comparison | Unjudged],
    as_json: bool,
) -> None:
    if as_json:
        shapes = {name: list(t.shape) for name, t in inputs.items()}
        say_json(
            {"file": str(file), "device": device, "inputs": shapes, "seconds": seconds.first,
             "steady_seconds": seconds.steady, "results": [_as_json(c) for c in found]}
        )  # fmt: skip
        return
    shapes = ", ".join(f"{name}{list(t.shape)}" for name, t in inputs.items())
    say(f"{file} on {device}: {shapes}")
    for c in found:
        _say(c)
    say(f"first call, with compilation: {seconds.first:.2f} s")
    if seconds.steady is not None:
        say(f"a call after it: {seconds.steady * 1e3:.3g} ms")


def _as_json(found: Comparison | Unjudged) -> dict[str, Any]:
    """``agrees`` is null where nothing was compared."""
    match found:
        case Unjudged():
            return {"name": found.name, "shape": list(found.shape), "dtype": found.dtype, "agrees": None}
        case Comparison():
            return {
                "name": found.name, "shape": list(found.shape), "dtype": found.dtype, "difference": found.difference,
                "scale": found.scale, "agrees": found.agrees, "judged": found.judged or "all",
            }  # fmt: skip


def _say(found: Comparison | Unjudged) -> None:
    size = f"{found.name}{list(found.shape)} {found.dtype}"
    match found:
        case Unjudged():
            say(
                f"{size} is not judged: the reference takes too much memory; give smaller sizes",
                style="yellow",
            )
        case Comparison():
            verdict = "agrees with" if found.agrees else "DIFFERS from"
            part = f" {found.judged}" if found.judged else ""
            gap = f"largest difference {found.difference:.2g}, largest value {found.scale:.2g}"
            say(f"{size} {verdict} the reference{part}: {gap}", style="green" if found.agrees else "bold red")
