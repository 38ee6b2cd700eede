"""``attn test``: a property test of each file's kernels against its meaning."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click

from attn_dsl.cli.arguments import (
    expand,
    files_argument,
    json_option,
    param_option,
    parse_params,
    target_option,
)
from attn_dsl.cli.output import plural, say, say_json, working
from attn_dsl.errors import AttnError
from attn_dsl.language.load import load_file


@dataclass(frozen=True, slots=True)
class Outcome:
    """``failure``: empty where every example agreed; ``no_gradient``: why gradients were not tested, empty
    where they were."""

    path: Path
    failure: str
    seconds: float
    no_gradient: str = ""


@click.command("test", short_help="A property test against the reference")
@files_argument
@click.option(
    "--examples", type=click.IntRange(1), default=20, show_default=True, help="Random inputs a file."
)
@param_option
@target_option("triton", "cpu", "interpreter")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    examples: int,
    params: tuple[str, ...],
    target: str | None,
    as_json: bool,
) -> None:
    """Compare a file's kernels, and their gradients, with the dense reference on random inputs: sizes, types,
    strides.

    Without a GPU the kernels are native C++; '--target interpreter' tests the GPU's, slowly: keep --examples
    small.

    \b
    Examples:
      attn test my.attn
      attn test examples/masks --examples 5

    Exit status: 0 all agree; 1 one does not, or a file is wrong; 2 wrong usage.
    """
    if find_spec("hypothesis") is None:
        raise click.ClickException("this needs hypothesis: pip install 'attn_dsl[test]'")
    outcomes: list[Outcome] = []
    for path in expand(files):
        with working(f"testing {path}"):
            outcome = _test(path, examples, params, target)
        outcomes.append(outcome)
        if not as_json:
            _print(outcome)
    failed = sum(bool(o.failure) for o in outcomes)
    if as_json:
        data = [
            {
                "file": str(o.path),
                "failure": o.failure or None,
                "no_gradient": o.no_gradient or None,
                "seconds": o.seconds,
            }
            for o in outcomes
        ]
        say_json({"files": data})
    elif len(outcomes) > 1:
        say(f"{plural(len(outcomes), 'file')}: {len(outcomes) - failed} agree, {failed} do not", style="bold")
    ctx.exit(1 if failed else 0)


def _test(path: Path, examples: int, params: tuple[str, ...], target: str | None) -> Outcome:
    import attn_dsl
    from attn_dsl.testing import check

    start = time.perf_counter()
    failure = no_gradient = ""
    try:
        values = parse_params(load_file(path).cascade, params)
        without = check(attn_dsl.compile(path, params=values, target=target), examples=examples)
        no_gradient = "; ".join(d.summary() for d in without)
    except (AttnError, AssertionError) as error:
        failure = str(error)
    return Outcome(path, failure, round(time.perf_counter() - start, 3), no_gradient)


def _print(outcome: Outcome) -> None:
    if outcome.failure:
        say(f"{outcome.path}: failed", style="bold red")
        say(outcome.failure)
    else:
        say(f"{outcome.path}: agrees with its meaning ({outcome.seconds:.1f} s)", style="green")
        if outcome.no_gradient:
            say(f"  gradient: no, {outcome.no_gradient}")
