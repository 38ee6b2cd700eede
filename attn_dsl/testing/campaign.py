"""A long run of random mechanisms against the reference: ``python -m attn_dsl.testing.campaign``.

A case is a number: its text, its arguments and so its outcome follow from the seed and the number alone, and
``--first`` takes a run up where another ended. What fails is made as simple as can be and printed whole, to
be kept as a test.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import click

from attn_dsl.testing.cascades import random_cascade
from attn_dsl.testing.mechanisms import mechanism
from attn_dsl.testing.property import Case, Outcome, run_case


@click.command()
@click.option("--cases", default=3000, show_default=True, help="How many mechanisms.")
@click.option("--first", default=0, show_default=True, help="The number of the first.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--target", default="interpreter", show_default=True, type=click.Choice(["cpu", "interpreter", "triton"])
)
@click.option("--jobs", default=1, show_default=True, help="Processes.")
@click.option("--tries", default=200, show_default=True, help="Simpler cases to try once one has failed.")
@click.option("--gradients", is_flag=True, help="Compare gradients, not results.")
@click.option("--cascades", is_flag=True, help="Draw cascades that are not attention.")
def main(
    cases: int, first: int, seed: int, target: str, jobs: int, tries: int, *, gradients: bool, cascades: bool
) -> None:
    """Compare random mechanisms with the reference; exit code 1 if any fails."""
    from rich.progress import track

    draw = random_cascade if cascades else mechanism
    run = partial(run_case, seed=seed, target=target, tries=tries, gradients=gradients, draw=draw)
    with ProcessPoolExecutor(jobs, initializer=_single_thread) as pool:
        results = pool.map(run, range(first, first + cases), chunksize=4)
        shown = track(results, total=cases, description=target, disable=not sys.stderr.isatty())
        raise SystemExit(1 if report(shown) else 0)


def report(cases: Iterable[Case]) -> int:
    """Print what failed or was refused as it comes, at the end a summary. The number of failures."""
    count = dict.fromkeys(Outcome, 0)
    refusals: dict[str, int] = {}
    elements = unjudged = 0
    for case in cases:
        count[case.outcome] += 1
        elements, unjudged = elements + case.elements, unjudged + case.unjudged
        if case.outcome is Outcome.FAILED:
            print(f"---- case {case.number} failed\n{case.report}\n", flush=True)
        if case.outcome is Outcome.REFUSED:
            refusals[case.report] = refusals.get(case.report, 0) + 1
            print(f"---- case {case.number} refused: {case.report}", flush=True)
    print(", ".join(f"{n} {outcome.value}" for outcome, n in count.items()))
    for reason, n in sorted(refusals.items(), key=lambda item: -item[1]):
        print(f"  {n} refused: {reason}")
    print(f"{elements} elements compared, of which {unjudged} have no bound")
    return count[Outcome.FAILED]


def _single_thread() -> None:
    import torch

    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
