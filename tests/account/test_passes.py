"""The passes an account gives, each argued from the dependences (the taxonomy of FuseMax, Nayak et al.,
2024)."""

from __future__ import annotations

from collections.abc import Mapping

import attn_dsl
from attn_dsl.account.model import Passes
from tests.examples.cases import EXAMPLES


def passes(name: str, sizes: Mapping[str, int]) -> tuple[int | None, int, int, int]:
    """As written, hoisted, folded, and the bound, of the first kernel."""
    analysis = attn_dsl.compile(EXAMPLES / f"{name}.attn").analyze(**sizes)
    assert analysis.forward is not None
    found: Passes = analysis.forward.kernels[0].passes
    return found.written, found.hoisted, found.count, found.bound


SQUARE = {"i": 64, "j": 64}


def test_softmax_is_three_passes_two_hoisted_one_folded() -> None:
    """Written: the maximum, then the sum of exp(x - m), then P = w / l times V. The division hoisted out of
    the last sum, that one needs m alone and runs with l. Folded, both follow m by exp(old m - new m), and all
    run at once."""
    assert passes("basic/dense", SQUARE) == (3, 2, 1, 1)


def test_a_sigmoid_has_no_statistic_to_wait_for() -> None:
    """Nothing is normalised: a single sum."""
    assert passes("normalisers/sigmoid", SQUARE) == (1, 1, 1, 1)


def test_softplus_reweighting_takes_two() -> None:
    """Written: the sum of softplus weights a; then b, the sum of relu((i + 1) w / a - o) ** 3; then the
    weights over b times V. Hoisting the division by b leaves b and the output together, after a. The relu of
    a difference with w / a has no factor that a change of a could be divided out of, so a stays a pass of its
    own: the bound of one, which grants every fold, is not reached."""
    assert passes("normalisers/softplus_reweighted", SQUARE) == (3, 2, 2, 1)


def test_landmark_is_one() -> None:
    """Its text divides at the end already: the maximum over tokens and landmarks, then sums that need it. The
    softmax inside a block reduces over the tokens of one tile, held whole, and is no pass. Folded, one."""
    assert passes("normalisers/landmark", {"i": 64, "c": 4}) == (2, 2, 1, 1)


def test_the_entropy_of_logits_folds_and_that_of_weights_does_not() -> None:
    """sum of p (L - x) is linear in 1 / l and L, which hoist: with the maximum folded, one pass. sum of -p
    log p where p > 0 asks of each final p whether it is positive: its guard needs l, and that it waits for.
    As written both need the maximum, then the normaliser, then the weights."""
    assert passes("normalisers/entropy", SQUARE) == (3, 2, 1, 1)
    assert passes("normalisers/entropy_of_weights", SQUARE) == (3, 3, 2, 1)


def test_a_function_of_a_normalised_score_takes_two() -> None:
    """gelu(s / n) needs the final n; nothing hoists and nothing folds."""
    assert passes("normalisers/parameter_tokens", SQUARE) == (2, 2, 2, 1)
