"""``attn fmt``: the canonical spelling of a file."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from attn_dsl.cli.arguments import expand, files_argument
from attn_dsl.cli.output import plural, print_error, say
from attn_dsl.errors import AttnError
from attn_dsl.language.load import read_source


@click.command("fmt", short_help="Rewrite files in the canonical spelling")
@files_argument
@click.option(
    "--check", "only_check", is_flag=True, help="Write nothing; exit with 1 if a file would change."
)
@click.option("--diff", "show_diff", is_flag=True, help="Write nothing; print what would change.")
@click.pass_context
def command(ctx: click.Context, files: tuple[Path, ...], only_check: bool, show_diff: bool) -> None:
    """Rewrite .attn files in the canonical spelling; comments stay, the meaning stays.

    \b
    Examples:
      attn fmt my.attn
      attn fmt --check examples/

    Exit status: 0 all is well; 1 a file is wrong, or would change under --check; 2 wrong usage.
    """
    wrong = changed = 0
    for path in expand(files):
        try:
            before, after = _formatted(path)
        except AttnError as error:
            print_error(error)
            wrong += 1
            continue
        if before == after:
            continue
        changed += 1
        if show_diff:
            click.echo(_difference(path, before, after), nl=False)
        if only_check or show_diff:
            say(f"{path} would change", err=True)
        else:
            _write(path, after)
            say(f"{path} rewritten", err=True)
    if wrong:
        say(f"{plural(wrong, 'file')} could not be formatted", err=True, style="bold red")
    ctx.exit(1 if wrong or (only_check and changed) else 0)


def _formatted(path: Path) -> tuple[str, str]:
    from attn_dsl.language.format import format_text

    before = read_source(path)
    return before, format_text(before, str(path))


def _difference(path: Path, before: str, after: str) -> str:
    return "".join(
        difflib.unified_diff(
            before.splitlines(keepends=True),
            after.splitlines(keepends=True),
            str(path),
            f"{path} (formatted)",
        )
    )


def _write(path: Path, text: str) -> None:
    """Replace a file in one step, so that an interruption cannot leave half of it."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path.resolve())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise click.ClickException(f"{path}: {(error.strerror or 'cannot be written').lower()}") from None
