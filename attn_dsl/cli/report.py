"""``attn report``: a page about one attention or several."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attn_dsl.cli.arguments import (
    dtype_option,
    expand,
    files_argument,
    param_option,
    parse_params,
    parse_sizes,
    parse_tiles,
    size_option,
)
from attn_dsl.cli.lowering import example_params
from attn_dsl.cli.output import plural, say, working
from attn_dsl.ir.cascade import Cascade
from attn_dsl.language.load import load_file

if TYPE_CHECKING:
    from attn_dsl.report.page import Subject
    from attn_dsl.runtime.ahead_of_time import KernelResources

ARCHITECTURES = ("cuda:80", "cuda:90", "cuda:100", "hip:gfx942")


@click.command("report", short_help="A page with all the compiler knows")
@files_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE.html", help="The page."
)
@click.option(
    "--resources", is_flag=True,
    help="Compile the kernels for four architectures, for registers, spills and shared memory: a minute a file.",
)  # fmt: skip
@click.option("--device", help="A100, H100, H200, B200, MI300X, or cpu, which is measured. Default: H100.")
@click.option("--tiles", metavar="ROWSxSTREAM", help="Tiles, as 64x64. Default: the schedule's own.")
@param_option
@size_option
@dtype_option("bf16")
def command(
    files: tuple[Path, ...],
    output: Path,
    resources: bool,
    device: str | None,
    tiles: str | None,
    params: tuple[str, ...],
    sizes: tuple[str, ...],
    dtype: str,
) -> None:
    """Write one HTML page: source, cascade, passes, masks, costs over lengths, kernels and their source.

    Several files stand side by side in a table, and have a section each. The page needs nothing beside
    itself. Params and sizes are for those files that have them; nothing is run.

    \b
    Examples:
      attn report my.attn -o report.html
      attn report my.attn examples/masks -o report.html --size i=16384 --size j=16384 --device H200

    Exit status: 0 all is well; 1 a file is wrong, or the page cannot be written; 2 wrong usage.
    """
    from attn_dsl.report.figure import require_matplotlib, require_writable, unwritable
    from attn_dsl.report.page import page

    require_matplotlib()
    require_writable(output)
    shape = parse_tiles(tiles)
    paths = expand(files)
    cascades = {path: load_file(path).cascade for path in paths}
    _require_known(cascades.values(), params, sizes)
    subjects: list[Subject] = []
    for path in paths:
        with working(f"reading {path}"):
            subjects.append(_subject(path, resources, params, sizes, (device or "H100", shape, dtype)))
    with working(f"writing {output}"):
        text = page(subjects)
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise unwritable(output, error.strerror or "cannot be written") from None
    say(f"{output} written: {plural(len(subjects), 'attention')}", err=True)


def _subject(
    path: Path, resources: bool, params: Iterable[str], sizes: Iterable[str], kernels: tuple[str, Any, str]
) -> Subject:
    from attn_dsl.report.masks import MaskRequest
    from attn_dsl.report.page import Subject

    specification = load_file(path)
    cascade = specification.cascade
    values = example_params(cascade, parse_params(cascade, _for(params, _params_of(cascade))))
    extents = parse_sizes(cascade, _for(sizes, _indices_of(cascade)))
    device, tiles, dtype = kernels
    request = MaskRequest(cascade, values, extents, {}, tiles, device, dtype)
    return Subject(str(path), specification, request, _compiled(path, values) if resources else ())


def _compiled(path: Path, params: dict[str, int | float | bool]) -> list[KernelResources]:
    """What kernels take on each architecture; nothing of what becomes no kernel yet, as the page says."""
    import attn_dsl
    from attn_dsl.errors import NotLoweredError

    attention = attn_dsl.compile(path, params=params)
    try:
        return [found for a in ARCHITECTURES for found in attention.lower(a)]
    except NotLoweredError:
        return []


def _require_known(cascades: Iterable[Cascade], params: Iterable[str], sizes: Iterable[str]) -> None:
    """A param or an index is one of some file."""
    known = list(cascades)
    for option, given, names in (
        ("-p", params, {n for c in known for n in _params_of(c)}),
        ("--size", sizes, {n for c in known for n in _indices_of(c)}),
    ):
        for item in given:
            if item.partition("=")[0] not in names:
                raise click.UsageError(
                    f"{option} {item}: no file has it; there are {', '.join(sorted(names))}"
                )


def _for(given: Iterable[str], names: set[str]) -> list[str]:
    return [item for item in given if item.partition("=")[0] in names]


def _params_of(cascade: Cascade) -> set[str]:
    return {p.name for p in cascade.params}


def _indices_of(cascade: Cascade) -> set[str]:
    return {i.name for i in cascade.indices if not i.name.startswith("_")}
