"""``attn run``: one call on random input, beside what the file means."""

from __future__ import annotations

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
from attn_dsl.language.load import load_file

if TYPE_CHECKING:
    import torch

    from attn_dsl.runtime.attention import Attention

_BITS = {"bf16": 8, "f16": 11, "f32": 24, "f64": 53}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One result beside its reference. ``difference``: the largest, absolute; ``scale``: the largest
    magnitude of the reference; infinities and NaN agree where both have them."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    difference: float
    scale: float
    agrees: bool


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

    This is a first look, with a loose bound and where that does not hold a derived one; 'attn test' is the judge. Without a GPU the kernels are native C++;
    '--target interpreter' runs the GPU's instead, slowly: keep the sizes small.

    \b
    Examples:
      attn run my.attn
      attn run my.attn -p window=32 --size i=200 --size j=200 --dtype bf16

    Exit status: 0 the results agree; 1 they do not, or the file is wrong; 2 wrong usage.
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
    start = time.perf_counter()
    with torch.no_grad():
        results = _as_tuple(attention(*inputs.values()))
        seconds = time.perf_counter() - start
        expected = _as_tuple(attention.reference(*inputs.values()))
    names = [output.name for output in cascade.outputs]
    found = [compare(n, r, e, dtype) for n, r, e in zip(names, results, expected, strict=True)]
    if not all(c.agrees for c in found):
        found = [
            replace(c, agrees=c.agrees or within_rounding(attention, inputs, c.name, r))
            for c, r in zip(found, results, strict=True)
        ]
    _report(file, inputs, device, seconds, found, as_json)
    ctx.exit(0 if all(c.agrees for c in found) else 1)


def _inputs(
    cascade: Any, params: dict[str, Any], sizes: dict[str, int], dtype: str, device: str, seed: int
) -> dict[str, torch.Tensor]:
    import torch

    from attn_dsl.runtime.random_inputs import example_sizes, random_arguments

    kinds = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32, "f64": torch.float64}
    return random_arguments(cascade, example_sizes(cascade, params, sizes), kinds[dtype], device, seed)


def _as_tuple(results: Any) -> tuple[torch.Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)


def compare(name: str, result: torch.Tensor, expected: torch.Tensor, dtype: str) -> Comparison:
    """A result beside its reference; they agree within 32 roundings of the largest value."""
    import torch

    one, two = result.to(torch.float64), expected.to(torch.float64)
    scale = torch.nan_to_num(two, nan=0, posinf=0, neginf=0).abs()
    largest = float(scale.max()) if scale.numel() else 0.0
    bound = 32 * 2.0 ** -_BITS[dtype] * max(largest, 1.0)
    agrees = torch.allclose(one, two, rtol=0, atol=bound, equal_nan=True)
    gap = torch.nan_to_num((one - two).abs(), nan=0.0)
    difference = float(gap.max()) if gap.numel() else 0.0
    return Comparison(
        name, tuple(result.shape), str(result.dtype).removeprefix("torch."), difference, largest, agrees
    )


def within_rounding(
    attention: Attention, inputs: dict[str, torch.Tensor], name: str, result: torch.Tensor
) -> bool:
    """Whether rounding explains a large difference: scores in the hundreds make much of the last bit of each."""
    from attn_dsl.runtime.sizes import bind
    from attn_dsl.testing.rounding import bounded_results
    from attn_dsl.testing.tolerance import compare as judged

    extents = bind(attention.cascade, attention.params, (), inputs).sizes
    expected = bounded_results(attention.cascade, attention.params, inputs, extents)[name]
    return not judged(result, expected).wrong


def _report(
    file: Path,
    inputs: dict[str, torch.Tensor],
    device: str,
    seconds: float,
    found: list[Comparison],
    as_json: bool,
) -> None:
    if as_json:
        shapes = {name: list(t.shape) for name, t in inputs.items()}
        results = [
            {"name": c.name, "shape": list(c.shape), "dtype": c.dtype, "difference": c.difference,
             "scale": c.scale, "agrees": c.agrees}
            for c in found
        ]  # fmt: skip
        say_json(
            {"file": str(file), "device": device, "inputs": shapes, "seconds": seconds, "results": results}
        )
        return
    shapes = ", ".join(f"{name}{list(t.shape)}" for name, t in inputs.items())
    say(f"{file} on {device}: {shapes}")
    for c in found:
        verdict = "agrees with the reference" if c.agrees else "DIFFERS from the reference"
        size = f"{c.name}{list(c.shape)} {c.dtype}"
        gap = f"largest difference {c.difference:.2g}, largest value {c.scale:.2g}"
        say(f"{size} {verdict}: {gap}", style="green" if c.agrees else "bold red")
    say(f"first call, with compilation: {seconds:.2f} s")
