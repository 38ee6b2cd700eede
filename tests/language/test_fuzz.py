"""Whatever the text, the outcome is a specification or an error in the language's words."""

from __future__ import annotations

import random

import pytest

from attn_dsl.errors import AttnError
from attn_dsl.ir.printer import print_cascade
from attn_dsl.language.format import format_text
from attn_dsl.language.load import load_text
from tests.language.mutations import KINDS

SECONDS_A_BATCH = 20


def outcome(text: str) -> str:
    """``loaded`` or the message; any other exception is the defect looked for."""
    try:
        specification = load_text(text, "fuzz.attn")
    except AttnError as error:
        message = str(error)
        assert message.startswith("error: "), message
        assert "Traceback" not in message
        return message
    printed = print_cascade(specification.cascade)
    assert load_text(printed).cascade == specification.cascade, printed
    formatted = format_text(text, "fuzz.attn")
    assert format_text(formatted) == formatted
    assert load_text(formatted, "fuzz.attn").cascade == specification.cascade, formatted
    return "loaded"


def run(seeds: range) -> dict[str, int]:
    """The outcome of one text a seed, counted; a failure names the seed and shows the text."""
    counts = {"loaded": 0, "refused": 0}
    for seed in seeds:
        chance = random.Random(seed)
        text = chance.choice(KINDS)(chance)
        try:
            counts["loaded" if outcome(text) == "loaded" else "refused"] += 1
        except Exception as error:  # noqa: BLE001  (that none comes is what is tested)
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}\n{text[:2000]!r}")
    return counts


def test_two_thousand_texts() -> None:
    counts = run(range(2_000))
    assert counts["loaded"] > 20
    assert counts["refused"] > 1_000


@pytest.mark.slow
def test_ten_thousand_texts() -> None:
    run(range(2_000, 12_000))
