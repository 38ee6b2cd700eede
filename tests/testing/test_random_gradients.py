"""Gradients of mechanisms that nobody wrote: the rule that derives them and the kernels that compute them,
each against the reference. A longer run: ``python -m attn_dsl.testing.campaign --gradients``."""

from __future__ import annotations

import pytest

from attn_dsl.testing.property import Outcome, run_case

CHUNK = 4
CHUNKS = 15
SEED = 20

pytestmark = pytest.mark.usefixtures("plain_builds")


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_gradients_of_random_mechanisms(chunk: int) -> None:
    """What would store pairs is told, and is the lesser part."""
    numbers = range(chunk * CHUNK, (chunk + 1) * CHUNK)
    cases = [run_case(number, SEED, "cpu", gradients=True) for number in numbers]
    reports = [case.report for case in cases if case.outcome is Outcome.FAILED]
    assert not reports, "\n\n".join(reports)
    assert [case.outcome for case in cases].count(Outcome.REFUSED) <= CHUNK // 2
