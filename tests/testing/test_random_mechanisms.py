"""Mechanisms that nobody wrote, against the reference. A longer run: ``python -m
attn_dsl.testing.campaign``."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

import attn_dsl
from attn_dsl.testing import specifications
from attn_dsl.testing.property import Outcome, run_case

CHUNK = 10
SEED = 20


def outcomes(target: str, chunk: int, count: int) -> list[Outcome]:
    cases = [run_case(number, SEED, target) for number in range(chunk * CHUNK, chunk * CHUNK + count)]
    reports = [case.report for case in cases if case.outcome is Outcome.FAILED]
    assert not reports, "\n\n".join(reports)
    return [case.outcome for case in cases]


@pytest.mark.usefixtures("quick_builds")
@pytest.mark.parametrize("chunk", range(11))
def test_native_kernels_of_random_mechanisms(chunk: int) -> None:
    """Ten each. What has no kernel is told, and is rare."""
    assert outcomes("cpu", chunk, CHUNK).count(Outcome.REFUSED) <= CHUNK // 5


@pytest.mark.parametrize("chunk", range(100, 104))
def test_triton_kernels_of_random_mechanisms(chunk: int) -> None:
    outcomes("interpreter", chunk, 4)


@settings(max_examples=25)
@given(specifications())
def test_random_texts_are_legal(text: str) -> None:
    attn_dsl.compile(text)
