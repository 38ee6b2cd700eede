"""The ``attn`` command: one module a subcommand, each imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys

import click

from attn_dsl.version import __version__

_INTERRUPTED = 130
_COMMANDS = ("check", "fmt", "show", "picture", "report", "run", "test", "cache")

_HELP = """Write an attention mechanism as a cascade of Einsums; check it, read it, run it.

\b
Examples:
  attn check my.attn                 is it legal, does it become a kernel?
  attn show my.attn                  its passes over the data, and why
  attn picture my.attn               its mask and tiles; -o mask.png draws them
  attn report my.attn -o page.html    a page with all of it
  attn run my.attn --size i=200      run it on random input, compare with its meaning
  attn test my.attn                  a property test against its meaning

\b
Exit status: 0 all is well; 1 a file or a result is wrong; 2 the command line is wrong;
70 a fault of attn's own; 130 interrupted.
Colour is used on a terminal only; NO_COLOR=1 turns it off.
"""


class _Commands(click.Group):
    """Finds the subcommand ``name`` as ``attn_dsl.cli.name.command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        return importlib.import_module(f"attn_dsl.cli.{cmd_name}").command


@click.group(
    cls=_Commands,
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="attn")
def attn() -> None:
    """The group itself does nothing; its subcommands do."""


def main() -> None:
    """Entry point. A wrong file or result ends with 1 and a message, a fault of ours with 70: never with a
    traceback."""
    sys.exit(_status())


def _status() -> int:
    from attn_dsl.errors import AttnError

    try:
        # Of a command that ends by itself, click returns the status.
        return int(attn.main(prog_name="attn", standalone_mode=False) or 0)
    except click.exceptions.Abort:
        return _INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except AttnError as error:
        from attn_dsl.cli.output import print_error

        print_error(error)
        return 1
    except BrokenPipeError:
        # The reader has gone; what is still buffered must not complain at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 -- whatever it is, a user gets a sentence and a file
        from attn_dsl.cli.crash import INTERNAL_ERROR, report_crash

        report_crash(error)
        return INTERNAL_ERROR


if __name__ == "__main__":
    main()
