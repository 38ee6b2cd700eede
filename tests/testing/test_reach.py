"""What random mechanisms reach: each kind of fault that was once found by hand is drawn, and ordinary things
stay most."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from math import isnan

import pytest
import torch

from attn_dsl.testing.adjoints import adjoints
from attn_dsl.testing.choices import replay, spread
from attn_dsl.testing.layouts import Layout
from attn_dsl.testing.mechanisms import SMALL, Mechanism, mechanism
from attn_dsl.testing.mechanisms.names import WORDS
from attn_dsl.testing.strategies import Values

CASES = 300
SEED = 20
# Text that is a trace of a kind, and of how many in a hundred cases at least. All names are as they are drawn
# at first.
TRACES = {
    "taps, summed": (r"c\d*\[\S* \+= W", 3),
    "taps, kept": (r"\w+t\d*\[\S*t,\w\] = W", 1),
    "taps of queries": (r"Q\[[^=]*\Wt\b", 2),
    "taps of keys": (r"K\[[^=]*\Wt\b", 2),
    "taps in steps": (r"2 \* \w( \+ t|.*- 2 \* t)", 0.3),
    "centred taps": r"\+ 1 - t",
    "moving mean": r"w\[\S* mean= ",
    "taps of scores": r"Z\d*\[\S* \+= tapsS",
    "taps in two dimensions": r"tapsS\[t,s\]",
    "several extrema": (r"(max|min)=.*\n(.*\n)*.*(max|min)=", 10),
    "folds after an extremum": r"exp\(.* \+ m",
    "sums that cancel": r"l\d*\[\S* \+= .*(1 - 2 \*|- exp)",
    "default": (r"default\(", 5),
    "a mask on one operand": r"Y\d*\[.*where",
    "presence": r"present\(",
    "integer remainders": r"code\d*\S* (%|//)|% code|// code",
    "negative divisors": r"% -\d|// -\d",
    "remainders of reals": r"age\S* (%|//)",
    "shifts": r">>|<<",
    "extreme params": (r"param w\d*: int", 2),
    "row results alone": r"output [A-Z]\d*\[[^\]]*[iy]\)?\]\n",
    "a scalar": r"output .*R\d*\n",
    "an unused input": r"spare",
}


@cache
def cases() -> tuple[Mechanism, ...]:
    """Each loads: a text that is no file of the language is an error here."""
    limits = replace(SMALL, specials=True)
    return tuple(mechanism(spread(SEED, number), limits) for number in range(CASES))


def share(holds: list[bool]) -> float:
    """In a hundred."""
    return 100 * sum(holds) / CASES


@pytest.mark.parametrize("kind", TRACES)
def test_every_kind_of_text_is_drawn(kind: str) -> None:
    trace = TRACES[kind]
    pattern, least = trace if isinstance(trace, tuple) else (trace, 0.6)
    found = share([re.search(pattern, m.text) is not None for m in cases()])
    assert least <= found <= 60, found


@pytest.mark.parametrize("values", Values)
def test_every_kind_of_value_is_drawn(values: Values) -> None:
    drawn = [v for m in cases() for v in m.example.values.values()]
    assert drawn.count(values) >= 3
    assert drawn.count(Values.NORMAL) > len(drawn) / 3


@pytest.mark.parametrize("layout", Layout)
def test_every_layout_is_drawn(layout: Layout) -> None:
    assert share([layout in m.example.layouts.values() for m in cases()]) >= 5


def test_rows_and_tiles_of_nothing_but_infinities_and_nan() -> None:
    for value in (torch.nan, -torch.inf):
        rows = [t.isnan() if isnan(value) else t == value for m in cases() for t in reals(m)]
        assert sum(bool(r.all(-1).any()) for r in rows) >= 5


def reals(m: Mechanism) -> list[torch.Tensor]:
    return [t for t in m.example.arguments.values() if t.is_floating_point() and t.dim() and t.numel()]


def test_integers_at_the_ends() -> None:
    integers = [t for m in cases() for t in m.example.arguments.values() if not t.is_floating_point()]
    for dtype, end in (
        (torch.int32, -(2**31)),
        (torch.int32, 2**28),
        (torch.int64, 2**62),
        (torch.int8, -128),
    ):
        assert any(t.dtype == dtype and bool((t == end).any()) for t in integers), end
    assert {2**63 - 1, 0, -1} <= {value for m in cases() for value in m.params.values()}


def test_the_same_tensor_for_two_inputs() -> None:
    assert (
        share(
            [len({id(t) for t in m.example.arguments.values()}) < len(m.example.arguments) for m in cases()]
        )
        >= 1
    )


def test_hostile_names_of_their_own_and_of_generated_code() -> None:
    names = [set(re.findall(r"[A-Za-z]\w*", m.text)) for m in cases()]
    assert 8 <= share([bool(n & ({*WORDS} - {"int", "float"})) for n in names]) <= 40
    for form in (r"size_\w+", r"\w+_ptr", r"stride_\w+_\w+", r"BLOCK_\w+", r"\w+_count", r"\w+_next"):
        assert share([any(re.fullmatch(form, n) for n in each) for each in names]) >= 1, form
    everything = set[str]().union(*names)
    assert len({*WORDS} & everything) > len(WORDS) // 2


def test_adjoints_lie_anyhow_and_some_are_missing() -> None:
    outputs = (torch.zeros(3, 4), torch.zeros(3, dtype=torch.float16))
    drawn = [adjoints(outputs, spread(1, number)) for number in range(40)]
    assert all(any(a is not None for a in each) for each in drawn)
    assert any(any(a is None for a in each) for each in drawn)
    first = [a for a, _ in drawn if a is not None]
    assert any(0 in a.stride() for a in first)
    assert any(a.is_neg() for a in first)
    assert any(a.stride() == (1, 3) for a in first)
    assert all(a is not None and a.is_contiguous() for a in adjoints(outputs, replay(())))
