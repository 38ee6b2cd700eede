"""What the subcommands take: files and folders, ``-p name=value``, ``--size i=128``, ``--dtype bf16``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from attn_dsl.errors import LanguageError
from attn_dsl.ir.cascade import Cascade, Param
from attn_dsl.ir.dtypes import FLOATS

_TRUTH = {"true": True, "false": False}

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

files_argument: Decorator = click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
file_argument: Decorator = click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for a program to read."
)
param_option: Decorator = click.option(
    "-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="Give a param its value."
)
size_option: Decorator = click.option(
    "--size", "sizes", multiple=True, metavar="INDEX=N", help="Give an index its size."
)


def dtype_option(default: str) -> Decorator:
    """``--dtype``: what the inputs without a dtype of their own are."""
    return click.option(
        "--dtype",
        type=click.Choice(FLOATS),
        default=default,
        show_default=True,
        help="Type of the inputs that declare none.",
    )


def target_option(*targets: str) -> Decorator:
    """``--target``: which kernels. Without it, those that fit the device."""
    return click.option("--target", type=click.Choice(targets), help="Default: what fits the device.")


def expand(paths: Iterable[Path]) -> list[Path]:
    """The files given, and every ``.attn`` file below the folders given."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(path.rglob("*.attn"))
        if not inside:
            raise LanguageError(f"{path}: no .attn file in this folder")
        found += inside
    return found


def parse_params(cascade: Cascade, given: Iterable[str]) -> dict[str, int | float | bool]:
    """``name=value`` pairs as the kinds the file declares."""
    declared = {param.name: param for param in cascade.params}
    values: dict[str, int | float | bool] = {}
    for name, text in _pairs(given, "-p"):
        if name not in declared:
            raise click.UsageError(f"-p {name}={text}: {_unknown('param', name, list(declared))}")
        values[name] = _value(declared[name], text)
    return values


def parse_sizes(cascade: Cascade, given: Iterable[str]) -> dict[str, int]:
    """``index=n`` pairs; every index must be one of the file's."""
    names = [i.name for i in cascade.indices if not i.name.startswith("_")]
    sizes: dict[str, int] = {}
    for name, text in _pairs(given, "--size"):
        if name not in names:
            raise click.UsageError(f"--size {name}={text}: {_unknown('index', name, names)}")
        if not text.isascii() or not text.isdigit() or len(text) > 12:
            raise click.UsageError(f"--size {name}={text}: a size is an integer of 0 or more")
        sizes[name] = int(text)
    return sizes


def parse_tiles(given: str | None) -> tuple[int, int] | None:
    """``64x32`` as rows and stream, both powers of two."""
    if given is None:
        return None
    parts = given.lower().split("x")
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() and 0 < int(p) <= 1024 for p in parts):
        raise click.UsageError(f"--tiles {given}: write ROWSxSTREAM, as 64x32")
    row, stream = int(parts[0]), int(parts[1])
    if row & (row - 1) or stream & (stream - 1):
        raise click.UsageError(f"--tiles {given}: both are powers of two")
    return row, stream


def _pairs(given: Iterable[str], option: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for item in given:
        name, equals, text = item.partition("=")
        if not equals or not name or not text:
            raise click.UsageError(f"{option} {item}: write {option} name=value")
        pairs.append((name, text))
    return pairs


def _unknown(kind: str, name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"no {kind} '{name}'; did you mean '{close[0]}'?"
    has = f"the file has {', '.join(known)}" if known else "the file has none"
    return f"no {kind} '{name}'; {has}"


def _value(param: Param, text: str) -> int | float | bool:
    try:
        match param.kind:
            case "bool":
                return _TRUTH[text.lower()]
            case "int":
                return int(text)
            case _:
                return float(text)
    except (KeyError, ValueError):
        wanted = {"bool": "true or false", "int": "an integer", "float": "a number"}[param.kind]
        raise click.UsageError(f"-p {param.name}={text}: '{param.name}' is {wanted}") from None
