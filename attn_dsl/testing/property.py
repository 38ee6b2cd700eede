"""The property that every mechanism shall have, tried on random ones.

It compiles, or a NotLoweredError names what has no kernel; its cascade prints as a text that means the same;
and a call gives what the file means, within bounds derived from the data.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from attn_dsl.errors import AttnError, NotLoweredError
from attn_dsl.testing.checking import Verdict, judge
from attn_dsl.testing.choices import Choices, replay, shrunk, spread
from attn_dsl.testing.mechanisms import SMALL, Mechanism, mechanism
from attn_dsl.testing.strategies import Limits

Draw = Callable[[Choices, Limits], Mechanism]


class Outcome(Enum):
    """What became of a case. ``REFUSED``: a clear error names what has no kernel."""

    AGREED = "agreed"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Case:
    """One random mechanism and its outcome. ``report``: what was refused, or the whole of what failed, made
    simple. ``elements``, ``unjudged``: of the results, and those of them that have no finite bound."""

    number: int
    outcome: Outcome
    report: str = ""
    elements: int = 0
    unjudged: int = 0


def run_case(
    number: int,
    seed: int,
    target: str | None,
    tries: int = 0,
    *,
    gradients: bool = False,
    draw: Draw = mechanism,
) -> Case:
    """Try the property on the mechanism of a number. ``tries``: simpler ones to try if it fails.
    ``gradients``: of the gradients of its arguments, not of its results. ``draw``: what makes a mechanism of
    choices."""
    choices = spread(seed, number)
    case = _tried(number, choices, target, gradients, draw)
    if case.outcome is not Outcome.FAILED or not tries:
        return case

    def fails(record: list[int]) -> list[int] | None:
        """The choices really made where they make a case that fails in the same way."""
        candidate = replay(record)
        again = _tried(number, candidate, target, gradients, draw)
        same = again.outcome is Outcome.FAILED and _manner(again) == _manner(case)
        return candidate.record if same else None

    return _tried(number, replay(shrunk(choices.record, fails, tries)), target, gradients, draw)


def _manner(case: Case) -> str:
    """How a case failed, without its numbers and names."""
    return re.sub(r"\d+|'[^']*'", "", case.report.partition("\n")[0])[:60].split("; the worst")[0]


def _tried(number: int, choices: Choices, target: str | None, gradients: bool, draw: Draw) -> Case:
    found: Mechanism | None = None
    try:
        # A GPU's tiles spread an infinite value, and gradients of NaN are no matter.
        limits = replace(SMALL, specials=target == "cpu" and not gradients)
        found = draw(choices, limits)
        verdict = violation(found, target, choices if gradients else None)
    except NotLoweredError as error:
        return Case(number, Outcome.REFUSED, re.sub("'[^']*'", "_", error.diagnostics[0].message))
    except AttnError as error:
        verdict = Verdict(f"an error: {error}")
    except Exception as error:  # noqa: BLE001  (a crash is what a campaign looks for)
        verdict = Verdict(f"{type(error).__name__} in {_place(error)}: {error}")
    outcome = Outcome.FAILED if verdict.report else Outcome.AGREED
    report = f"{verdict.report}\n{found or ''}" if verdict.report else ""
    return Case(number, outcome, report, verdict.elements, verdict.unjudged)


def _place(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename.rpartition('/')[2]}, {frame.name}"


def violation(found: Mechanism, target: str | None, adjoints: Choices | None = None) -> Verdict:
    """What is wrong with a mechanism, or with its gradients for some adjoints, on a target. NotLoweredError
    where it has no kernel."""
    from attn_dsl.ir.printer import cascade_key, print_cascade
    from attn_dsl.language.load import load_text
    from attn_dsl.runtime.attention import compile

    attention = compile(found.text, target=target, schedule=found.schedule, params=found.params)
    example = found.example.on("cuda") if target == "triton" else found.example
    if adjoints is not None:
        from attn_dsl.testing.gradients import judge_gradients

        return judge_gradients(attention, example, adjoints)
    again = load_text(print_cascade(attention.cascade)).cascade
    if again != attention.cascade or cascade_key(again) != cascade_key(attention.cascade):
        return Verdict("printed and parsed again it is another cascade")
    return judge(attention, example)
