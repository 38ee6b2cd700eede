"""``check``: what it finds, and how it tells."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from attn_dsl.errors import NotLoweredError
from attn_dsl.testing import check
from attn_dsl.testing.choices import replay, simpler, spread
from attn_dsl.testing.layouts import Layout
from attn_dsl.testing.strategies import Limits, make_example
from tests.testing.kernels import causal, flash


def test_a_correct_attention_passes() -> None:
    check(causal(flash), examples=30)


def test_other_seeds_are_other_examples() -> None:
    seen: list[list[tuple[int, ...]]] = [[], [], []]
    for k, seed in enumerate((None, None, 5)):

        def remember(Q: Tensor, K: Tensor, V: Tensor, into: list[tuple[int, ...]] = seen[k]) -> Tensor:
            into.append(tuple(Q.shape))
            return flash(Q, K, V)

        check(causal(remember), examples=8, seed=seed)
    assert seen[0] == seen[1] != seen[2]


def test_a_failure_is_made_simple_and_told_in_full() -> None:
    def wrong_beyond_a_tile(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
        return flash(Q, K, V, skipped=16)

    with pytest.raises(AssertionError) as caught:
        check(causal(wrong_beyond_a_tile), examples=30)
    report = str(caught.value).splitlines()
    assert report[0].startswith("causal: O: ")
    assert "elements are wrong; the worst at [0, 0, " in report[0]
    assert report[1].startswith("sizes     d=8 ")
    assert " b=1 " in report[1]
    assert [line.split()[0] for line in report[2:]] == ["Q", "K", "V"]
    assert report[2].endswith("f32, contiguous")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda Q, K, V: flash(Q, K, V).double(), "O is torch.float64, which should be torch."),
        (lambda Q, K, V: flash(Q, K, V)[..., :0], "O has shape"),
        (lambda Q, K, V: 1 // 0, "causal: raised ZeroDivisionError"),
    ],
)
def test_other_failures(wrong, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        check(causal(wrong), examples=10)


def test_what_is_not_lowered_is_told_as_such() -> None:
    def refuse(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
        raise NotLoweredError("not this one")

    with pytest.raises(NotLoweredError, match="not this one"):
        check(causal(refuse), examples=2)


def test_wrong_only_in_one_layout() -> None:
    def wrong_where_strides_are_zero(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
        return flash(Q, K, V) + (0 in K.stride() and K.shape[K.stride().index(0)] > 1)

    with pytest.raises(AssertionError, match="K .*repeated, strides"):
        check(causal(wrong_where_strides_are_zero), examples=30)


def test_every_length_feature_dtype_and_layout_is_tried() -> None:
    cascade = causal(flash).cascade
    tried: Counter[tuple[str, object]] = Counter()
    for k in range(60):
        example = make_example(cascade, {}, spread(0, k), Limits())
        tried.update((name, size) for name, size in example.sizes.items())
        tried.update((name, layout) for name, layout in example.layouts.items())
        tried.update((name, values) for name, values in example.values.items())
        tried["dtype", example.arguments["Q"].dtype] += 1
        tried["i != j", example.sizes["i"] != example.sizes["j"]] += 1
    for index in "ij":
        assert all(tried[index, n] for n in (0, 1, 17, 127, 130))
    for index in "de":
        assert all(tried[index, n] for n in (1, 17, 64, 80, 96, 192))
    assert tried["b", 0]
    assert all(tried["dtype", d] for d in (torch.float32, torch.bfloat16, torch.float16))
    assert tried["i != j", True] > 40
    assert sum(name == "Q" for name, _ in tried) == len(Layout) + 4


def test_choices_replay_and_simplify() -> None:
    cascade = causal(flash).cascade
    choices = spread(1, 12)
    example = make_example(cascade, {}, choices, Limits())
    again = make_example(cascade, {}, replay(choices.record), Limits())
    assert again.sizes == example.sizes
    assert all(torch.equal(again.arguments[n], example.arguments[n]) for n in example.arguments)
    assert list(simpler([0, 3, 0, 1])) == [[0, 0, 0, 1], [0, 3, 0, 0]]
