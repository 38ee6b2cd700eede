"""``attn cache``: where generated and compiled kernels lie."""

from __future__ import annotations

import click

from attn_dsl.cli.arguments import json_option
from attn_dsl.cli.output import say, say_json


@click.command("cache", short_help="Where generated kernels lie")
@click.argument("action", type=click.Choice(("path", "list", "clear")), default="list")
@json_option
def command(action: str, as_json: bool) -> None:
    """Show or empty the cache of generated kernels.

    \b
    Actions:
      path    print the folder (ATTN_DSL_CACHE sets another)
      list    print its entries and their sizes; the default
      clear   remove all entries; they are rebuilt when needed

    Exit status: 0 all is well; 1 the folder cannot be used; 2 wrong usage.
    """
    from attn_dsl.runtime import cache

    match action:
        case "path":
            folder = str(cache.directory())
            say_json({"path": folder}) if as_json else say(folder)
        case "clear":
            removed = cache.clear()
            say_json({"removed": removed}) if as_json else say(f"{_entries(removed)} removed")
        case _:
            _list(as_json)


def _list(as_json: bool) -> None:
    from attn_dsl.runtime import cache

    entries = cache.entries()
    if as_json:
        data = [{"key": key, "bytes": size} for key, size in entries]
        say_json({"path": str(cache.directory()), "entries": data})
        return
    for key, size in entries:
        say(f"{key}  {size / 1024:8.0f} KiB")
    total = sum(size for _, size in entries) / 1024
    say(f"{_entries(len(entries))}, {total:.0f} KiB in {cache.directory()}", style="bold")


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"
