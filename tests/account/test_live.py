"""Live elements equal what the reference counts point by point, for every example and for what nobody
wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attn_dsl.account.counting import TooManyPoints, count, exists
from attn_dsl.account.live import Live, count_live
from attn_dsl.account.presences import with_presences, without_certainties
from attn_dsl.account.values import Facts, grid
from attn_dsl.analysis.presence import guard
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.language.load import load_file, load_text
from attn_dsl.planning.dependence import Dependence
from attn_dsl.planning.extents import Extents
from attn_dsl.planning.roles import assign_roles
from attn_dsl.rewrites import normal_form
from attn_dsl.runtime.params import resolve_params
from attn_dsl.runtime.sizes import solve_sizes
from attn_dsl.testing.choices import spread
from attn_dsl.testing.mechanisms import mechanism
from tests.account.elements import elements
from tests.analysis.elements import World
from tests.analysis.predicates import DECLARATIONS, SIZES, predicates
from tests.examples.cases import CASES, EXAMPLES, example_names

Params = Mapping[str, int | float | bool]


def lives(
    cascade: Cascade, params: Params, arguments: Mapping[str, Tensor], sizes: Mapping[str, int]
) -> Iterator[tuple[Einsum, Live]]:
    """What is counted for each streamed contribution of the normal form, all integer inputs given."""
    flow = Dependence(cascade)
    roles = assign_roles(flow, Extents(cascade))
    samples = {n: t.resolve_neg().numpy() for n, t in arguments.items() if not t.is_floating_point()}
    facts = Facts(cascade, params, sizes, samples)
    for target in roles.streamed:
        for part in (p for p in flow.by_target[target] if isinstance(p, Einsum) and not p.is_keyed):
            streams = frozenset(part.over) & roles.streams
            whole = flow.guards.of(part)
            facts = with_presences(facts, flow, [whole])
            indices = (*part.dims, *part.over)
            yield part, count_live(without_certainties(whole, facts), indices, streams, facts)


@pytest.mark.parametrize("name", [n for n in example_names() if not n.startswith("coming/")])
def test_live_elements_of_every_example(name: str) -> None:
    case = CASES[name]
    written = load_file(EXAMPLES / f"{name}.attn").cascade
    params = resolve_params(written, case.params)
    arguments, sizes = case.arguments(written), case.all_sizes(written)
    cascade = normal_form(written)
    for part, live in lives(cascade, params, arguments, sizes):
        expected = elements(cascade, part, params, arguments, sizes)
        assert live.low <= expected <= live.high
        assert live.exact or "computed" in live.reason or "random" in live.reason


@pytest.mark.parametrize("chunk", range(4))
def test_live_elements_of_random_mechanisms(chunk: int) -> None:
    exact = 0
    for number in range(chunk * 15, chunk * 15 + 15):
        found = mechanism(spread(31, number))
        written = load_text(found.text).cascade
        params = resolve_params(written, found.params)
        arguments = found.example.arguments
        sizes = solve_sizes(written, params, arguments)
        cascade = normal_form(written)
        for part, live in lives(cascade, params, arguments, sizes):
            expected = elements(cascade, part, params, arguments, sizes)
            assert live.low <= expected <= live.high, found.text
            exact += live.exact
    assert exact >= 15  # guards over scores are the exception


@settings(max_examples=150, deadline=None)
@given(predicates, st.integers(0, 2**32 - 1), st.sampled_from([{"j"}, {"j", "u"}, {"i"}, set[str]()]))
def test_random_predicates(predicate: str, seed: int, streams: set[str]) -> None:
    """Counting, by whatever means, against every point."""
    cascade, facts, world = made(predicate, seed)
    (statement,) = cascade.statements
    whole = guard(statement, cascade)
    points = grid(SIZES)
    expected = np.zeros(tuple(SIZES.values()), dtype=bool)
    for at in np.ndindex(expected.shape):
        expected[at] = world.element(whole, dict(zip(SIZES, at, strict=True)))
    assert count(whole, points, frozenset(streams), facts) == expected.sum()
    rows = exists(whole, points, frozenset(streams), facts)
    axes = tuple(n for n, name in enumerate(SIZES) if name in streams)
    reduced = expected.any(axis=axes, keepdims=True)
    assert np.array_equal(np.broadcast_to(rows, reduced.shape), reduced)


def made(predicate: str, seed: int) -> tuple[Cascade, Facts, World]:
    """The cascade of a random predicate, and random data for it."""
    import torch

    text = f"{DECLARATIONS}\nZ[i,j,u] = doc[i] where {predicate}\noutput Z[i, j, u]\n"
    cascade = load_text(text).cascade
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        "doc": torch.randint(-2, 5, (SIZES["i"],), generator=generator),
        "key": torch.randint(-2, 5, (SIZES["j"],), generator=generator).sort().values,
        "open": torch.rand(SIZES["j"], generator=generator) < 0.5,
        "other": torch.randint(-2, 5, (SIZES["u"],), generator=generator),
    }
    params = {"w": 3, "a": 0.5}
    facts = Facts(cascade, params, SIZES, {n: t.resolve_neg().numpy() for n, t in tensors.items()})
    return cascade, facts, World(params, SIZES, tensors)


def test_a_million_tokens_are_few_operations() -> None:
    """Closed forms: the totals of the textbook."""
    n, w = 1 << 20, 256
    text = (
        "attention t\nparam w: int = 256\ninput Q[i, d], K[j, d]\nX[i,j] += Q[i,d] * K[j,d]\n"
        "Z[i] max= X[i,j] where {}\noutput Z[i]\n"
    )
    expected = {
        "j <= i": n * (n + 1) // 2,
        "0 <= i - j < w": w * n - w * (w - 1) // 2,
        "i // w == j // w": n * w,
        "(i - j) % 64 == 0 and j <= i": sum(64 * k for k in range(1, n // 64 + 1)),
    }
    for predicate, total in expected.items():
        cascade = load_text(text.format(predicate)).cascade
        sizes = {"i": n, "j": n, "d": 64}
        facts = Facts(cascade, {"w": w}, sizes)
        where = cascade.statements[-1].where
        assert where is not None
        assert count(where, grid({"i": n, "j": n}), frozenset("j"), facts) == total


def test_what_cannot_be_counted_says_so() -> None:
    """Two hashes of different things: nothing but trying every pair is left, and that is refused."""
    text = (
        "attention t\ninput Q[i, d], K[j, d]\nX[i,j] += Q[i,d] * K[j,d]\n"
        "Z[i] max= X[i,j] where (i * j) % 7 < 3 and (i * i + j) & 5 == 0\noutput Z[i]\n"
    )
    cascade = load_text(text).cascade
    where = cascade.statements[-1].where
    assert where is not None
    n = 1 << 20
    sizes = {"i": n, "j": n, "d": 64}
    live = count_live(where, ("i", "j"), frozenset("j"), Facts(cascade, {}, sizes))
    assert (live.low, live.high, live.exact) == (0, n * n, False)
    assert "no closed form" in live.reason
    with pytest.raises(TooManyPoints):
        count(where, grid({"i": n, "j": n}), frozenset("j"), Facts(cascade, {}, sizes))
