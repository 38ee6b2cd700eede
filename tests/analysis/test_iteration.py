"""Plans hold exactly where their predicate does, and the usual masks have closed forms."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_dsl.analysis.iteration import IterationPlan, Term, plan_iteration
from attn_dsl.analysis.presence import guard
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Expr
from attn_dsl.ir.walk import index_names
from attn_dsl.language.load import load_text
from tests.analysis.elements import World
from tests.analysis.predicates import DECLARATIONS, SIZES, predicates

STREAMS = ("j", "u")
PARAMS = {"w": 3, "a": 0.5}


def _guard(predicate: str) -> tuple[Expr, Cascade]:
    text = f"{DECLARATIONS}X[i,j,u] = i + j + u where {predicate}\noutput X[i, j, u]: i32\n"
    cascade = load_text(text).cascade
    return guard(cascade.definitions("X")[0], cascade), cascade


def _holds(term: Term, world: World, at: dict[str, int]) -> bool:
    above = all(at[b.index] >= world.element(e, at) for b in term.bounds for e in b.lower)
    below = all(at[b.index] <= world.element(e, at) for b in term.bounds for e in b.upper)
    return above and below and all(world.element(e, at) for e in (*term.row_conditions, *term.residual))


def _assert_exact(predicate: Expr, plan: IterationPlan, world: World) -> None:
    for i, j, u in product(*(range(n) for n in SIZES.values())):
        at = {"i": i, "j": j, "u": u}
        expected = bool(world.element(predicate, at))
        assert any(_holds(t, world, at) for t in plan.terms) == expected, (at, str(plan))


@settings(max_examples=300, deadline=None)
@given(predicates, st.integers(0, 2**31 - 1), st.booleans())
def test_plan_is_exact(text: str, seed: int, known: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        "doc": torch.randint(-2, 5, (SIZES["i"],), generator=generator),
        "key": torch.randint(-2, 5, (SIZES["j"],), generator=generator),
        "open": torch.randint(0, 2, (SIZES["j"],), generator=generator).bool(),
    }
    predicate, cascade = _guard(text)
    plan = plan_iteration(predicate, STREAMS, PARAMS if known else {}, cascade)
    _assert_exact(predicate, plan, World(PARAMS, SIZES, tensors))
    for term in plan.terms:
        limits = [e for b in term.bounds for e in (*b.lower, *b.upper)]
        assert not {n for e in (*limits, *term.row_conditions) for n in index_names(e)} & set(STREAMS)


@pytest.mark.parametrize(
    ("predicate", "terms"),
    [
        ("causal(i, j)", 1),
        ("causal_at_end(i, j)", 1),
        ("sliding_window(i, j, w)", 1),
        ("j <= i and (j < 2 or i - j < w)", 2),
        ("prefix(j, w)", 1),
        ("i // w == j // w", 1),
        ("i // w == j // w and j <= i", 1),
        ("i // w - j // w == 1 or i // w == j // w", 2),
        ("abs(j - clamp(i, w // 2, size(j) - 1 - w // 2)) <= w // 2", 1),
        ("abs(i - j) > w", 2),
        ("neighbourhood(i, j, w)", 1),
        ("neighbourhood_strided(i, j, w, 2)", 1),
        ("neighbourhood_causal(i, j, w)", 1),
        ("doc[i] <= j and j < doc[i] + w", 1),
        ("global_tokens(i, j, w)", 2),
        ("i - j < doc[i]", 1),
        ("not (j > i)", 1),
        ("j <= i and u <= i // 2", 1),
        ("3 * j <= 2 * i", 1),
        ("j * w <= i", 1),
        ("min(j, 4) <= i", 2),
        ("clamp(j, 1, 4) <= i", 2),
    ],
)
def test_closed_forms(predicate: str, terms: int) -> None:
    exists, cascade = _guard(predicate)
    plan = plan_iteration(exists, STREAMS, PARAMS, cascade)
    assert plan.closed_form, str(plan)
    assert len(plan.terms) <= terms, str(plan)


@pytest.mark.parametrize(
    "predicate",
    ["dilated(i, j, w, 2)", "strided(i, j, w)", "doc[i] == key[j]", "open[j]", "j <= i * a", "j + u <= i"],
)
def test_what_has_no_closed_form_keeps_a_residual(predicate: str) -> None:
    exists, cascade = _guard(predicate)
    plan = plan_iteration(exists, STREAMS, PARAMS, cascade)
    assert not plan.closed_form


def test_a_residual_keeps_its_range() -> None:
    exists, cascade = _guard("dilated(i, j, w, 2)")
    (term,) = plan_iteration(exists, STREAMS, PARAMS, cascade).terms
    assert term.bounds[0].lower and term.bounds[0].upper and len(term.residual) == 1


def test_nothing_to_visit() -> None:
    exists, cascade = _guard("false")
    assert plan_iteration(exists, STREAMS, PARAMS, cascade).terms == ()
