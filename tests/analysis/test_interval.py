"""The test of a tile is sound: it misses no element, and calls no tile full that is not."""

from itertools import combinations_with_replacement, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_dsl.analysis.interval import IntervalTest, interval_test
from attn_dsl.analysis.presence import guard
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Expr
from attn_dsl.language.load import load_text
from tests.analysis.elements import World
from tests.analysis.predicates import DECLARATIONS, SIZES, predicates

Box = dict[str, range]
PARAMS = {"w": 3, "a": 0.5}


def _guard(predicate: str) -> tuple[Expr, Cascade]:
    text = f"{DECLARATIONS}X[i,j,u] = i + j + u where {predicate}\noutput X[i, j, u]: i32\n"
    cascade = load_text(text).cascade
    return guard(cascade.definitions("X")[0], cascade), cascade


def _world(seed: int) -> World:
    generator = torch.Generator().manual_seed(seed)
    doc = torch.randint(-2, 4, (SIZES["i"],), generator=generator)
    key = torch.randint(-2, 4, (SIZES["j"],), generator=generator).sort().values
    is_open = torch.randint(0, 2, (SIZES["j"],), generator=generator).bool()
    return World(PARAMS, SIZES, {"doc": doc, "key": key, "open": is_open})


def _ends(test: IntervalTest, world: World, box: Box) -> dict[str, int]:
    """The extremes of a tile, of its indices and of what it reads."""
    ends: dict[str, int] = {}
    for name, places in box.items():
        ends |= {f"lo:{name}": places[0], f"hi:{name}": places[-1]}
    for extremum in test.extrema:
        values = [int(world.element(extremum.read, at)) for at in _elements(box)]
        ends |= {f"lo:{extremum.name}": min(values), f"hi:{extremum.name}": max(values)}
    return ends


def _elements(box: Box) -> list[dict[str, int]]:
    return [dict(zip(box, place, strict=True)) for place in product(*box.values())]


def _box(draw: st.DataObject) -> Box:
    pairs = {n: list(combinations_with_replacement(range(size), 2)) for n, size in SIZES.items()}
    chosen = {n: draw.draw(st.sampled_from(p), label=n) for n, p in pairs.items()}
    return {n: range(low, high + 1) for n, (low, high) in chosen.items()}


@settings(max_examples=300, deadline=None)
@given(predicates, st.integers(0, 2**31 - 1), st.booleans(), st.data())
def test_interval_test_is_sound(text: str, seed: int, known: bool, draw: st.DataObject) -> None:
    predicate, cascade = _guard(text)
    test = interval_test(predicate, PARAMS if known else {}, cascade)
    world = _world(seed)
    for _ in range(4):
        box = _box(draw)
        ends = _ends(test, world, box)
        holds = [bool(world.element(predicate, at)) for at in _elements(box)]
        assert bool(world.element(test.possible, ends)) >= any(holds), box
        assert bool(world.element(test.certain, ends)) <= all(holds), box


@pytest.mark.parametrize(
    ("predicate", "box", "possible", "certain"),
    [
        ("j <= i", (range(2, 4), range(3)), True, True),
        ("j <= i", (range(2), range(2, 4)), False, False),
        ("j <= i", (range(1, 3), range(2, 4)), True, False),
        ("doc[i] == key[j]", (range(2), range(2)), True, True),
        ("doc[i] == key[j]", (range(2), range(2, 5)), False, False),
        ("doc[i] == key[j]", (range(1, 3), range(4)), True, False),
        ("(j // 2) % 2 == 0", (range(1), range(2, 4)), False, False),
        ("(j // 2) % 2 == 0", (range(1), range(4, 6)), True, True),
        ("open[j]", (range(1), range(3)), True, True),
        ("not open[j]", (range(1), range(3)), False, False),
        ("abs(i - j) <= 1", (range(2), range(3, 6)), False, False),
        ("j <= i * a", (range(2), range(3, 6)), True, False),
    ],
)
def test_tiles(predicate: str, box: tuple[range, range], possible: bool, certain: bool) -> None:
    tensors = {
        "doc": torch.tensor([1, 1, 2, 2, 3]),
        "key": torch.tensor([1, 1, 2, 2, 3, 3]),
        "open": torch.tensor([True, True, True, False, False, False]),
    }
    world = World(PARAMS, SIZES, tensors)
    exists, cascade = _guard(predicate)
    test = interval_test(exists, PARAMS, cascade)
    ends = _ends(test, world, {"i": box[0], "j": box[1], "u": range(1)})
    assert (bool(world.element(test.possible, ends)), bool(world.element(test.certain, ends))) == (
        possible,
        certain,
    )
