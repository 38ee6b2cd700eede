"""What a model gives and a file does not take, and how it is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import causal_mask_function, sliding_window_causal_mask_function

import attn_dsl
from tests.transformers.texts import CAUSAL_PADDED, MASKED, WINDOW, text

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
CAUSAL = text(where="causal_at_end(i, j)")
PLAIN = "attention plain\ninput Q[b, h, i, d], K[b, h, j, d], V[b, h, j, e]\n"
PLAIN += "S[b,h,i,j] += Q[b,h,i,d] * K[b,h,j,d] / sqrt(size(d))\nP[b,h,i,j] = softmax[j](S[b,h,i,j])\n"
PLAIN += "O[b,h,i,e] += P[b,h,i,j] * V[b,h,j,e]\noutput O[b, h, i, e]\n"
Call = Callable[[], Any]


class SelfAttention(nn.Module):
    is_causal = True


def attend(source: str, registered: dict[str, Any] | None = None, rows: int = 4, **given: Any) -> Call:
    """A call as a model makes it: four query heads to two of keys, and `given`."""

    def call() -> Any:
        attn_dsl.transformers.register("tried", source, **(registered or {}))
        q, k = torch.zeros(2, 4, rows, 8), torch.zeros(2, 2, 4, 8)
        arguments = {"attention_mask": None, "scaling": 8**-0.5, "dropout": 0.0, **given}
        return AttentionInterface()["tried"](SelfAttention(), q, k, k, **arguments)

    return call


def mask(source: str, rows: int = 4, keys: int = 4, **given: Any) -> Call:
    """A mask as a model asks for it: causal where nothing else is given."""

    def call() -> Any:
        attn_dsl.transformers.register("tried", source)
        arguments = {"mask_function": causal_mask_function, "q_offset": keys - rows, **given}
        return AttentionMaskInterface()["tried"](batch_size=2, q_length=rows, kv_length=keys, **arguments)

    return call


def registered(source: Any, name: str = "tried", **values: Any) -> Call:
    return lambda: attn_dsl.transformers.register(name, source, **values)


PADDING = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]], dtype=torch.bool)
WRONG: dict[str, Call] = {
    "name_of_theirs": registered(CAUSAL, "sdpa"),
    "name_of_flash": registered(CAUSAL, "my_flash"),
    "no_layout": registered(CAUSAL.replace("K[b, g, j, d]", "K[b, j, g, d]")),
    "two_inputs": registered("attention a\ninput Q[b, h, i, d], K[b, h, j, d]\nO[b,h,i,d] += K[b,h,j,d]\noutput O[b, h, i, d]\n"),
    "no_such_param": registered(CAUSAL, windw=3),
    "no_such_name": registered(CAUSAL, takes={"sink": "s_aux"}),
    "constant_of_another_rank": registered(text("slope[(g r)]"), slope=torch.zeros(4, 1)),
    "mask_and_padding": registered(text("mask[b, _, i, j]: bool, keep[b, j]: bool")),
    "as_many_heads": attend(PLAIN),
    "sees_the_future": attend(text()),
    "scale": attend(CAUSAL, scaling=0.25),
    "scale_where_there_is_none": attend(text(where="causal_at_end(i, j)", score="S[b,g,r,i,j]")),
    "dropout": attend(CAUSAL, dropout=0.1),
    "softcap": attend(CAUSAL, softcap=30.0),
    "sinks": attend(CAUSAL, s_aux=torch.zeros(4)),
    "position_bias": attend(CAUSAL, position_bias=torch.zeros(1, 4, 4, 4)),
    "packed": attend(CAUSAL, cu_seq_lens_q=torch.zeros(3, dtype=torch.int32)),
    "weights_wanted": attend(CAUSAL, output_attentions=True),
    "unknown_object": attend(CAUSAL, cache=[1, 2]),
    "window_of_none": attend(WINDOW, sliding_window=None),
    "window_twice": attend(WINDOW, {"sliding_window": 3}, sliding_window=4),
    "input_that_none_gives": attend(text("slope[(g r)]", "causal_at_end(i, j)"), position_ids=torch.zeros(1)),
    "input_twice": attend(text("s_aux[(g r)]", "causal_at_end(i, j)"), {"s_aux": torch.zeros(4)}, s_aux=torch.zeros(4)),
    "whole_mask": attend(CAUSAL, attention_mask=torch.zeros(2, 1, 4, 4)),
    "padding": attend(CAUSAL, attention_mask=PADDING),
    "padding_in_front": attend(text("lengths[b]: i32", "causal_at_end(i, j) and j < lengths[b]"), attention_mask=PADDING),
    "mask_that_adds": attend(MASKED, attention_mask=torch.ones(2, 1, 4, 4)),
    "wider_than_the_window": mask(CAUSAL, mask_function=sliding_window_causal_mask_function(2)),
    "rows_from_the_start": mask(text(where="causal(i, j)"), rows=1),
    "static_cache_first": mask(CAUSAL, rows=2, q_offset=0),
    "static_cache": mask(CAUSAL, rows=1, q_offset=1),
    "keys_from_the_start": mask(text(where="causal_at_end(i, j) and j >= 1"), rows=1, q_offset=7, kv_offset=4),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_message(name: str, golden: Callable[[Path, str], None]) -> None:
    with pytest.raises(attn_dsl.ArgumentError) as caught:
        WRONG[name]()
    golden(GOLDEN / f"{name}.txt", f"{caught.value}\n")


def test_what_changes_nothing_is_no_error() -> None:
    neutral = {
        "softcap": None,
        "s_aux": None,
        "sliding_window": None,
        "output_attentions": False,
        "use_cache": True,
    }
    output, weights = attend(CAUSAL, position_ids=torch.arange(4)[None], **neutral)()
    assert output.shape == (2, 4, 4, 8)
    assert weights is None


def test_no_mask_is_made_where_the_file_has_it() -> None:
    assert mask(CAUSAL)() is None
    assert mask(CAUSAL, rows=1)() is None
    assert mask(CAUSAL_PADDED, attention_mask=torch.ones(2, 4, dtype=torch.bool))() is None
    assert torch.equal(mask(CAUSAL_PADDED, attention_mask=PADDING)(), PADDING)
    window = mask(text(where="0 <= i - j < 2"), mask_function=sliding_window_causal_mask_function(2))
    assert window() is None
    whole = mask(MASKED, attention_mask=PADDING)()
    assert torch.equal(whole, torch.ones(4, 4, dtype=torch.bool).tril() & PADDING[:, None, None])
