"""``attn show``: what the compiler makes of a file, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
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
    parse_tiles,
    size_option,
    target_option,
)
from attn_dsl.cli.output import say, say_json
from attn_dsl.errors import AttnError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.language.load import load_file

if TYPE_CHECKING:
    from attn_dsl.account import Analysis

AFTER = ("cascade", "normal", "plan", "tiles", "source")
Params = Mapping[str, int | float | bool]
Presences = tuple[tuple[str, tuple[str, ...]], ...]


@click.command("show", short_help="What the compiler makes of a file")
@file_argument
@click.option(
    "--cascade", "stages", flag_value="cascade", multiple=True, help="The statements, functions inlined."
)
@click.option("--normal", "stages", flag_value="normal", multiple=True, help="The normal form.")
@click.option(
    "--passes", "stages", flag_value="passes", multiple=True, help="The passes of each kernel, and why."
)
@click.option(
    "--plan", "stages", flag_value="plan", multiple=True, help="The kernels: rows, passes, what loops visit."
)
@click.option(
    "--after", "after", multiple=True, type=click.Choice(AFTER), help="What a stage hands on to the next."
)
@click.option("--source", "stages", flag_value="source", multiple=True, help="The generated code.")
@click.option(
    "--cost", "stages", flag_value="cost", multiple=True, help="What it costs, and why; runs nothing."
)
@click.option(
    "--device", help="For --cost: A100, H100, H200, B200, MI300X, or cpu, which is measured. Default: H100."
)
@click.option(
    "--tiles", metavar="ROWSxSTREAM", help="For --cost: tiles, as 64x64. Default: the schedule's own."
)
@click.option(
    "--backward", is_flag=True, help="The backward pass instead; with --cost, beside the forward pass."
)
@param_option
@size_option
@dtype_option("bf16")
@target_option("triton", "cpu")
@json_option
def command(
    file: Path,
    stages: tuple[str, ...],
    after: tuple[str, ...],
    params: tuple[str, ...],
    sizes: tuple[str, ...],
    dtype: str,
    target: str | None,
    device: str | None,
    tiles: str | None,
    backward: bool,
    as_json: bool,
) -> None:
    """Show a file as the compiler sees it: by default its cascade and its plan.

    \b
    Examples:
      attn show my.attn
      attn show my.attn --normal --passes
      attn show my.attn --source --dtype f16 --size d=128 --size e=128 > kernel.py
      attn show my.attn --source --target cpu --dtype f32 > kernel.cpp
      attn show my.attn --backward --normal
      attn show my.attn --after tiles --target cpu
      attn show my.attn --cost --size i=32768 --size j=32768 --size h=16 --device H200

    Params without a default, and feature sizes that are not given, take example values; for --cost lengths
    are 4096, other indices 1.

    Exit status: 0 all is well; 1 the file is wrong, or not lowered yet; 2 wrong usage.
    """
    specification = load_file(file)
    cascade = specification.cascade
    values = parse_params(cascade, params)
    extents = parse_sizes(cascade, sizes)
    subject = partial(_subject, cascade, backward=backward)
    printers: dict[str, Callable[[], str]] = {
        "cascade": lambda: _cascade(subject("cascade")[0]),
        "normal": lambda: _normal(subject("normal")[0]),
        "passes": lambda: _planned(subject("plan"), values, extents, "passes"),
        "plan": lambda: _planned(subject("plan"), values, extents, "plan"),
        "tiles": lambda: _tiles(*subject("source"), values, dtype, extents, target or "triton"),
        "source": lambda: _source(*subject("source"), values, dtype, extents, target or "triton"),
    }
    chosen = tuple(dict.fromkeys((*stages, *after))) or ("cascade", "plan")
    if "cost" not in chosen and (device or tiles):
        raise click.UsageError("--device and --tiles are for --cost")
    shape = parse_tiles(tiles)
    account: Analysis | None = None
    try:
        if "cost" in chosen:
            account = _cost(cascade, values, extents, dtype, device, shape, backward)
            printers["cost"] = account.__str__
        shown: dict[str, Any] = {stage: printers[stage]().rstrip() for stage in chosen}
    except AttnError as error:
        raise type(error)(error.diagnostics, {**specification.sources, **error.sources}) from None
    if as_json:
        if account is not None:
            shown["cost"] = account.to_dict()
        say_json({"file": str(file), "name": cascade.name, **shown})
        return
    for number, (stage, text) in enumerate(shown.items()):
        if len(shown) > 1:
            say(("\n" if number else "") + f"# {stage}", style="bold")
        click.echo(text)


def _subject(cascade: Cascade, stage: str, *, backward: bool) -> tuple[Cascade, Presences]:
    """The cascade to show: the file's own, or that of its backward pass, with the presences this is given."""
    if not backward:
        return cascade, ()
    from attn_dsl.differentiation import backward as derive
    from attn_dsl.rewrites.dead_statements import dead_statements

    passes = derive(cascade)
    computed = tuple(o for o in passes.cascade.outputs if o.name not in passes.cascade.saved)
    shown = replace(passes.cascade, outputs=computed) if stage != "source" else passes.cascade
    return dead_statements(shown), passes.presences


def _cascade(cascade: Cascade) -> str:
    from attn_dsl.ir.printer import print_cascade

    return print_cascade(cascade)


def _normal(cascade: Cascade) -> str:
    from attn_dsl.ir.printer import print_cascade
    from attn_dsl.rewrites import normal_form

    return print_cascade(normal_form(cascade))


def _cost(
    cascade: Cascade, params: Params, sizes: Mapping[str, int], dtype: str, device: str | None,
    tiles: tuple[int, int] | None, backward: bool,
) -> Analysis:  # fmt: skip
    from attn_dsl.account import Request, analyse
    from attn_dsl.account.analysis import DEFAULT_DEVICE
    from attn_dsl.account.call import example_sizes
    from attn_dsl.cli.lowering import example_params

    values = example_params(cascade, params)
    extents = example_sizes(cascade, values, sizes)
    return analyse(Request(cascade, values, extents, dtype, device or DEFAULT_DEVICE, tiles, None, backward))


def _planned(subject: tuple[Cascade, Presences], params: Params, sizes: Mapping[str, int], stage: str) -> str:
    from attn_dsl.cli.lowering import example_params
    from attn_dsl.planning import plan
    from attn_dsl.planning.text import describe, describe_all_passes

    cascade, presences = subject
    found = plan(cascade, example_params(cascade, params), presences, sizes)
    return describe(found) if stage == "plan" else describe_all_passes(found)


def _tiles(
    cascade: Cascade, presences: Presences, params: Params, dtype: str, sizes: Mapping[str, int], target: str,
) -> str:  # fmt: skip
    from attn_dsl.cli.lowering import example_lowering
    from attn_dsl.codegen.tiles.text import tile_text

    lowering = example_lowering(cascade, params, dtype, sizes, _architecture(target), presences)
    return "\n".join(f"kernel {k.text.name}\n{tile_text(k.text.body)}" for k in lowering.kernels)


def _architecture(target: str) -> str:
    return "cpu" if target == "cpu" else "cuda:90"


def _source(
    cascade: Cascade, presences: Presences, params: Params, dtype: str, sizes: Mapping[str, int], target: str,
) -> str:  # fmt: skip
    from attn_dsl.cli.lowering import example_program

    return example_program(cascade, params, dtype, sizes, _architecture(target), presences).source
