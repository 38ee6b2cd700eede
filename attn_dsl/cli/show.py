"""``attn show``: what the compiler makes of a file, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import click

from attn_dsl.cli.arguments import (
    dtype_option,
    file_argument,
    json_option,
    param_option,
    parse_params,
    parse_sizes,
    size_option,
)
from attn_dsl.cli.output import say, say_json
from attn_dsl.errors import AttnError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.language.load import load_file

Params = Mapping[str, int | float | bool]


@click.command("show")
@file_argument
@click.option(
    "--cascade", "stages", flag_value="cascade", multiple=True, help="The statements, functions inlined."
)
@click.option("--normal", "stages", flag_value="normal", multiple=True, help="The normal form.")
@click.option(
    "--passes", "stages", flag_value="passes", multiple=True, help="The passes of each kernel, and why."
)
@click.option("--source", "stages", flag_value="source", multiple=True, help="The generated code.")
@param_option
@size_option
@dtype_option("bf16")
@json_option
def command(
    file: Path,
    stages: tuple[str, ...],
    params: tuple[str, ...],
    sizes: tuple[str, ...],
    dtype: str,
    as_json: bool,
) -> None:
    """Show a file as the compiler sees it: by default its cascade and its passes over the data.

    \b
    Examples:
      attn show my.attn
      attn show my.attn --normal --passes
      attn show my.attn --source --dtype f16 --size d=128 --size e=128 > kernel.py

    Params without a default, and feature sizes that are not given, take example values.

    Exit status: 0 all is well; 1 the file is wrong, or not lowered yet; 2 wrong usage.
    """
    specification = load_file(file)
    cascade = specification.cascade
    values = parse_params(cascade, params)
    extents = parse_sizes(cascade, sizes)
    printers: dict[str, Callable[[], str]] = {
        "cascade": lambda: _cascade(cascade),
        "normal": lambda: _normal(cascade),
        "passes": lambda: _passes(cascade),
        "source": lambda: _source(cascade, values, dtype, extents),
    }
    chosen = tuple(dict.fromkeys(stages)) or ("cascade", "passes")
    try:
        shown = {stage: printers[stage]().rstrip() for stage in chosen}
    except AttnError as error:
        raise type(error)(error.diagnostics, {**specification.sources, **error.sources}) from None
    if as_json:
        say_json({"file": str(file), "name": cascade.name, **shown})
        return
    for number, (stage, text) in enumerate(shown.items()):
        if len(shown) > 1:
            say(("\n" if number else "") + f"# {stage}", style="bold")
        click.echo(text)


def _cascade(cascade: Cascade) -> str:
    from attn_dsl.ir.printer import print_cascade

    return print_cascade(cascade)


def _normal(cascade: Cascade) -> str:
    from attn_dsl.ir.printer import print_cascade
    from attn_dsl.rewrites import normal_form

    return print_cascade(normal_form(cascade))


def _passes(cascade: Cascade) -> str:
    """The passes of every kernel; the streams of each are those that code generation chooses."""
    from attn_dsl.analysis.passes import analyse_passes
    from attn_dsl.analysis.report import describe_passes
    from attn_dsl.codegen.dependence import Dependence
    from attn_dsl.codegen.partition import partition
    from attn_dsl.rewrites import normal_form

    cascade = normal_form(cascade)
    flow = Dependence(cascade)
    roles, plans = partition(cascade, flow)
    blocks: list[str] = []
    for number, plan in enumerate(plans, 1):
        streams = {target: flow.over(target) & roles.streams for target in plan.targets}
        text = (
            describe_passes(cascade, analyse_passes(cascade, streams)) or "pointwise: no pass over a stream"
        )
        stored = f"stores {', '.join(plan.stores)}"
        blocks.append(f"kernel {number}: rows {', '.join(plan.rows)}; {stored}\n{text}")
    return "\n\n".join(blocks)


def _source(cascade: Cascade, params: Params, dtype: str, sizes: Mapping[str, int]) -> str:
    from attn_dsl.cli.lowering import example_program

    return example_program(cascade, params, dtype, sizes).source
