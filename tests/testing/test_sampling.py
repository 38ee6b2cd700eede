"""What the reference says at some places of an index is what it says there of everything."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attn_dsl.cli.lowering import example_params
from attn_dsl.language.load import load_file, load_text
from attn_dsl.reference import evaluate
from attn_dsl.runtime.random_inputs import random_arguments
from attn_dsl.testing import sampling
from attn_dsl.testing.sampling import Subject, at_places, subjects
from tests.examples.cases import CASES, EXAMPLES, example_names

MATRIX = "attention test\ninput Q[i, d], K[j, d], V[j, e]\nS[i,j] += Q[i,d] * K[j,d]\n"


@pytest.mark.parametrize("name", example_names())
def test_places_of_the_examples(name: str) -> None:
    cascade, case = load_file(EXAMPLES / f"{name}.attn").cascade, CASES[name]
    params = example_params(cascade, case.params)
    sizes, arguments = case.all_sizes(cascade), case.arguments(cascade)
    whole = evaluate(cascade, params, arguments, sizes)
    for output in cascade.outputs:
        alone = replace(cascade, outputs=(output,))
        for index in dict.fromkeys(i for axis in output.axes for i in axis.indices):
            made = at_places(alone, output, index)
            if made is None:
                continue
            places = torch.arange(sizes[index])[:: max(1, sizes[index] // 3)]
            subject = Subject(
                output.name, made[0], f"_at_{output.name}", {**arguments, "_place": places},
                {**sizes, "_sample": len(places)}, index, places,
            )  # fmt: skip
            torch.testing.assert_close(
                subject.expected(params), subject.of(whole[output.name]), equal_nan=True, rtol=1e-9, atol=1e-9
            )


def _extents(text: str, monkeypatch: pytest.MonkeyPatch, largest: int) -> dict[str, str | None]:
    cascade = load_text(text).cascade
    sizes = dict.fromkeys("ij", 40) | dict.fromkeys("de", 4)
    arguments = random_arguments(cascade, sizes, torch.float32, "cpu", 0)
    monkeypatch.setattr(sampling, "LARGEST", largest)
    found = subjects(cascade, arguments, sizes)
    return {name: s.extent if s is not None else None for name, s in found.items()}


def test_as_many_rows_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{MATRIX}O[i,e] += S[i,j] * V[j,e]\nZ[j] += S[i,j]\noutput O[i, e]\noutput Z[j]"
    assert _extents(text, monkeypatch, 40 * 40) == {"O": "", "Z": ""}
    assert _extents(text, monkeypatch, 40 * 11) == {
        "O": "at 10 of 40 places of 'i'", "Z": "at 10 of 40 places of 'j'",
    }  # fmt: skip


def test_what_reads_everything_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{MATRIX}N[j] += S[i,j]\nO[i,e] += S[i,j] / N[j] * V[j,e]\noutput O[i, e]"
    assert _extents(text, monkeypatch, 40 * 11) == {"O": None}


def test_a_large_run_is_judged_at_some_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "LARGEST", 40 * 11)
    cascade = load_text(f"{MATRIX}O[i,e] += S[i,j] * V[j,e]\noutput O[i, e]").cascade
    q, k, v = torch.randn(40, 4), torch.randn(40, 4), torch.randn(40, 4)
    (subject,) = subjects(
        cascade, {"Q": q, "K": k, "V": v}, dict.fromkeys("ij", 40) | dict.fromkeys("de", 4)
    ).values()
    assert subject is not None and subject.places is not None
    torch.testing.assert_close(
        subject.expected({}), ((q @ k.mT) @ v)[subject.places].double(), rtol=1e-4, atol=1e-4
    )
