"""``attn picture``: what a mechanism looks like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from attn_dsl.cli.arguments import (
    dtype_option,
    file_argument,
    param_option,
    parse_params,
    parse_sizes,
    parse_tiles,
    size_option,
)
from attn_dsl.cli.lowering import example_params
from attn_dsl.cli.output import say, working
from attn_dsl.errors import AttnError
from attn_dsl.language.load import load_file

KINDS = ("mask", "tiles", "weights", "roofline", "histogram")  # as report.picture, which brings torch


@click.command("picture", short_help="Masks, tiles, weights, a roofline")
@file_argument
@click.option("--kind", type=click.Choice(KINDS), default="mask", show_default=True, help="What to draw.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="A .png, .svg or .pdf file (needs matplotlib). Default: text, on the terminal.",
)  # fmt: skip
@click.option("--tensor", metavar="NAME", help="For weights: which. Default: the last over rows and keys.")
@click.option("--device", help="A100, H100, H200, B200, MI300X, or cpu, which is measured. Default: H100.")
@click.option("--tiles", metavar="ROWSxSTREAM", help="Tiles, as 64x64. Default: the schedule's own.")
@param_option
@size_option
@dtype_option("bf16")
@click.option("--seed", type=int, default=0, show_default=True, help="Of inputs that are made up.")
def command(
    file: Path,
    kind: str,
    output: Path | None,
    tensor: str | None,
    device: str | None,
    tiles: str | None,
    params: tuple[str, ...],
    sizes: tuple[str, ...],
    dtype: str,
    seed: int,
) -> None:
    """Draw a file's mechanism: which pairs its mask leaves, which tiles a kernel visits, what bounds it.

    \b
    Kinds:
      mask       every pair, and its tile: empty, partial (masked) or full
      tiles      the tiles alone, for long sequences
      weights    a tensor evaluated on random input: by default the attention weights
      roofline   products a byte, and what a device could do at most
      histogram  the tiles of every loop by kind

    Sizes that are not given are such that what the params bound shows. Integer inputs that masks read (the
    numbers of documents, lengths) are made up, and the picture says so; in Python, attention.picture(...)
    takes real ones.

    \b
    Examples:
      attn picture my.attn
      attn picture my.attn -p window=64 --size i=512 --size j=512 --tiles 32x32 -o mask.png
      attn picture my.attn --kind roofline --size i=32768 --size j=32768 --device H200 -o roofline.svg

    Exit status: 0 all is well; 1 the file is wrong, or cannot be drawn; 2 wrong usage.
    """
    if kind == "weights" and (device or tiles):
        raise click.UsageError("--device and --tiles are of kernels; weights are evaluated by the reference")
    if tensor is not None and kind != "weights":
        raise click.UsageError("--tensor is for --kind weights")
    specification = load_file(file)
    cascade = specification.cascade
    values = example_params(cascade, parse_params(cascade, params))
    extents, shape = parse_sizes(cascade, sizes), parse_tiles(tiles)
    try:
        from attn_dsl.report.figure import require_drawing
        from attn_dsl.report.masks import MaskRequest
        from attn_dsl.report.picture import picture

        if output is not None:
            require_drawing(output)
        request = MaskRequest(cascade, values, extents, {}, shape, device or "H100", dtype, seed)
        with working(f"drawing {file}"):
            found = picture(request, kind, tensor)
            if output is not None:
                found.save(output)
    except AttnError as error:
        raise type(error)(error.diagnostics, _sources(specification.sources, error)) from None
    if output is not None:
        say(f"{output} written", err=True)
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(found.text(console.width, colour=console.color_system is not None), soft_wrap=True)


def _sources(known: Mapping[str, str], error: AttnError) -> dict[str, str]:
    return {**known, **error.sources}
