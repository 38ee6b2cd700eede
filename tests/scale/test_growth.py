"""Work that grows with the text and no faster, and bounds that are told at once.

No clock is read: the nodes that are walked over are counted, at one size and at twice that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

import attn_dsl.ir.walk as walk_module
from attn_dsl.cli.lowering import example_program
from attn_dsl.differentiation.reverse import backward
from attn_dsl.errors import LanguageError, NotLoweredError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Expr
from attn_dsl.ir.printer import print_cascade
from attn_dsl.language.load import load_text
from attn_dsl.rewrites import normal_form
from tests.scale.texts import SHAPES


def visits_of(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many nodes of expressions a piece of work walks over."""
    count = 0
    plain = walk_module.children

    def counted(expr: Expr) -> tuple[Expr, ...]:
        nonlocal count
        count += 1
        return plain(expr)

    with monkeypatch.context() as patched:
        patched.setattr(walk_module, "children", counted)
        work()
    return count


def train(cascade: Cascade) -> None:
    """Forward and backward to C++."""
    example_program(cascade, dtype="f32", architecture="cpu")
    found = backward(cascade)
    example_program(found.cascade, dtype="f32", architecture="cpu", presences=found.presences)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ("doubling", 10), ("chain", 20), ("row_softmaxes", 3), ("softmaxes", 3), ("inputs", 12), ("outputs", 8),
        ("functions", 100), ("calls", 60), ("layer_norm_linear", 1),
    ],
)  # fmt: skip
def test_work_grows_no_faster_than_the_text(shape: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (load_text(SHAPES[shape](n)).cascade for n in (size, 2 * size))
    visits = [visits_of(partial(train, cascade), monkeypatch) for cascade in (small, large)]
    assert visits[1] < 3.2 * visits[0]


@pytest.mark.parametrize(
    ("shape", "size"), [("chain", 400), ("doubling", 150), ("row_softmaxes", 15), ("calls", 300)]
)
def test_long_texts_need_no_deep_stack(shape: str, size: int) -> None:
    cascade = load_text(SHAPES[shape](size)).cascade
    print_cascade(normal_form(cascade))
    example_program(cascade)
    example_program(cascade, dtype="f32", architecture="cpu")
    backward(cascade)


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ("chain", 2_001, "at most 2000 statements"),
        ("inputs", 501, "at most 500 inputs"),
        ("outputs", 251, "at most 250 outputs"),
        ("indices", 101, "at most 100 index lines"),
    ],
)
def test_what_is_beyond_is_told(shape: str, size: int, message: str) -> None:
    with pytest.raises(LanguageError, match=message):
        load_text(SHAPES[shape](size))


def test_a_presence_of_very_many_conditions_is_told() -> None:
    with pytest.raises(NotLoweredError, match="more than 64 conditions"):
        example_program(load_text(SHAPES["masked_chain"](70)).cascade)
