"""A long run of random mechanisms against the reference: ``python -m attn_dsl.testing.campaign --cases 3000``.

A case is a number: its text, its arguments and so its outcome follow from the seed and the number alone, and
``--first`` takes a run up where another ended. What fails is printed whole, to be kept as a test.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial

import click

from attn_dsl.errors import AttnError, NotLoweredError
from attn_dsl.testing.checking import failure
from attn_dsl.testing.choices import spread
from attn_dsl.testing.random_specs import specification
from attn_dsl.testing.strategies import Limits, make_example

SMALL = Limits(dtypes=("f32", "bf16", "f16"), longest=40, widest=24, work=1 << 16)


class Outcome(Enum):
    """What became of a case. ``REFUSED``: a clear error names what has no kernel."""

    AGREED = "agreed"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Case:
    """One random mechanism and its outcome; ``report``: the text, and what went wrong or was refused."""

    number: int
    outcome: Outcome
    report: str = ""


def run_case(number: int, seed: int, target: str, limits: Limits = SMALL) -> Case:
    """Make the mechanism of a number, check that its cascade prints and parses back, and compare one call."""
    from attn_dsl.ir.printer import cascade_key, print_cascade
    from attn_dsl.language.load import load_text
    from attn_dsl.runtime.attention import compile

    text = specification(spread(seed, number))
    try:
        attention = compile(text, target=target)
        again = load_text(print_cascade(attention.cascade)).cascade
        if cascade_key(again) != cascade_key(attention.cascade):
            return Case(number, Outcome.FAILED, f"{text}\nprinted and parsed again it is another cascade")
        example = make_example(attention.cascade, attention.params, spread(seed + 1, number), limits)
        report = failure(attention, example)
    except NotLoweredError as error:
        return Case(number, Outcome.REFUSED, f"{text}\n{error}")
    except AttnError as error:
        return Case(number, Outcome.FAILED, f"{text}\n{error}")
    except Exception as error:  # noqa: BLE001  (a crash is what a campaign looks for)
        return Case(number, Outcome.FAILED, f"{text}\n{type(error).__name__}: {error}")
    return Case(number, Outcome.FAILED if report else Outcome.AGREED, f"{text}\n{report}" if report else "")


@click.command()
@click.option("--cases", default=3000, show_default=True, help="How many mechanisms.")
@click.option("--first", default=0, show_default=True, help="The number of the first.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--target", default="cpu", show_default=True, type=click.Choice(["cpu", "interpreter", "triton"])
)
@click.option("--jobs", default=1, show_default=True, help="Processes.")
def main(cases: int, first: int, seed: int, target: str, jobs: int) -> None:
    """Compare random mechanisms with the reference; exit code 1 if any fails."""
    from rich.progress import track

    run = partial(run_case, seed=seed, target=target)
    numbers = range(first, first + cases)
    count = dict.fromkeys(Outcome, 0)
    with ProcessPoolExecutor(jobs, initializer=_single_thread) as pool:
        results = pool.map(run, numbers, chunksize=4)
        for case in track(results, total=cases, description=target, disable=not sys.stderr.isatty()):
            count[case.outcome] += 1
            if case.outcome is not Outcome.AGREED:
                print(f"---- case {case.number}, {case.outcome.value}\n{case.report}", flush=True)
    print(", ".join(f"{n} {outcome.value}" for outcome, n in count.items()))
    raise SystemExit(1 if count[Outcome.FAILED] else 0)


def _single_thread() -> None:
    import torch

    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
