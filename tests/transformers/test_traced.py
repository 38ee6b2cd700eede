"""Models under torch.compile and torch.export with files that keep the mask, and what is checked when a
program runs.

In double precision, against the model's own sdpa, not compiled; bounds as in `test_models`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from transformers import (
    AttentionInterface,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    ModernBertConfig,
    ModernBertModel,
)
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

import attn_dsl
from tests.transformers.test_models import EXACT, build, loss_and_gradients, tokens, two_sided
from tests.transformers.texts import CAUSAL_PADDED, WINDOW, text

CAUSAL = text(where="causal_at_end(i, j)")
Given = dict[str, Tensor]


def of_any_length(given: Given) -> Given:
    for tensor in given.values():
        torch._dynamo.mark_dynamic(tensor, 1)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    return given


def own_states(model: Any, given: Given) -> Tensor:
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        return model(**given, use_cache=False)[0]


def test_llama_learns_the_same_compiled_at_any_length_and_padding() -> None:
    """One graph for both."""
    attn_dsl.transformers.register("llama", CAUSAL_PADDED)
    model = build(LlamaConfig, LlamaForCausalLM)
    wanted = [loss_and_gradients(model, given) for given in (tokens(), tokens(12, padding=3))]
    model.set_attn_implementation("llama")
    counted = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counted, fullgraph=True)
    for (loss, gradients), given in zip(wanted, (tokens(), tokens(12, padding=3)), strict=True):
        model.zero_grad()
        labels = given["input_ids"].masked_fill(given["attention_mask"] == 0, -100)
        found = compiled(**of_any_length({**given, "labels": labels}), use_cache=False).loss
        found.backward()
        assert (found - loss).abs() < EXACT
        for name, weight in model.named_parameters():
            assert (weight.grad - gradients[name]).abs().max() < EXACT, name
    assert counted.frame_count == 1


def test_llama_compiled_reads_on_from_a_cache() -> None:
    attn_dsl.transformers.register("llama", CAUSAL_PADDED)
    model = build(LlamaConfig, LlamaForCausalLM)
    given = tokens(padding=2)
    own = own_states(model, given)
    model.set_attn_implementation("llama")
    compiled = torch.compile(model, backend="eager")
    ids, present = given["input_ids"], given["attention_mask"]
    with torch.no_grad():
        cache = compiled(input_ids=ids[:, :8], attention_mask=present[:, :8]).past_key_values
        found = compiled(input_ids=ids[:, 8:], attention_mask=present, past_key_values=cache)
    assert (found.logits[:, -1] - own[:, -1]).abs().max() < EXACT


def exported(model: Any, given: Given) -> Callable[..., Any]:
    length = torch.export.Dim("length", min=2, max=64)
    shapes = {key: {1: length} for key in given} | {"use_cache": None}
    program = torch.export.export(model, (), {**given, "use_cache": False}, dynamic_shapes=shapes)
    return program.module()


def test_mistral_exported_at_any_length_without_a_mask_of_padding() -> None:
    attn_dsl.transformers.register("mistral", WINDOW)
    model = build(MistralConfig, MistralForCausalLM, sliding_window=5)
    given, other = ({"input_ids": tokens(n)["input_ids"]} for n in (9, 14))
    own = own_states(model, other)
    model.set_attn_implementation("mistral")
    with torch.no_grad():
        found = exported(model, given)(**other, use_cache=False)[0]
    assert (found - own).abs().max() < EXACT


def test_modernbert_exported_with_padding() -> None:
    """Not causal, and a window of two sides; the same program refuses nothing, whatever the padding is."""
    attn_dsl.transformers.register("two_sided", two_sided("< sliding_window"))
    model = build(
        ModernBertConfig, ModernBertModel, local_attention=4, layer_types=["sliding_attention"] * 2,
        cls_token_id=1, sep_token_id=2,
    )  # fmt: skip
    model.set_attn_implementation("sdpa")
    own = [model(**tokens(padding=n))[0] for n in (0, 3)]
    model.set_attn_implementation("two_sided")
    program = torch.export.export(model, (), tokens(padding=1)).module()
    for n, states in zip((0, 3), own, strict=True):
        given = tokens(padding=n)
        assert (program(**given)[0] - states)[given["attention_mask"].bool()].abs().max() < EXACT


def layer(source: str, create: Callable[..., Any] = create_causal_mask, window: int | None = None) -> Any:
    """The mask and the attention of a layer, compiled as one graph that takes any length: what a model's
    does."""
    attn_dsl.transformers.register("traced", source)
    config: Any = LlamaConfig()
    config._attn_implementation = "traced"
    config.sliding_window = window
    attend = AttentionInterface()["traced"]
    module: Any = torch.nn.Module()
    module.sliding_window = window

    def call(
        x: Tensor, padding: Tensor | None = None, position_ids: Tensor | None = None, **given: Any
    ) -> Any:
        mask = create(config, x[:, 0], padding, None, position_ids=position_ids, **given)
        return attend(
            module, x, x, x, mask, scaling=x.shape[-1] ** -0.5, sliding_window=module.sliding_window
        )[0]

    return torch.compile(call, backend="eager", fullgraph=True, dynamic=True)


X = torch.randn(2, 2, 300, 8, generator=torch.Generator().manual_seed(0))
PACKED = torch.arange(300).remainder(150).expand(2, -1)


def test_packed_sequences_are_refused_when_the_program_runs() -> None:
    """In a window no row near the ends of 300 shows that a sequence begins at 150."""
    window = layer(WINDOW, create_sliding_window_causal_mask, 4)
    own = torch.nn.functional.scaled_dot_product_attention
    at = torch.arange(300)
    shown = (at <= at[:, None]) & (at > at[:, None] - 4)
    alone = window(X, position_ids=at.expand(2, -1))
    assert (alone.transpose(1, 2) - own(X, X, X, shown)).abs().max() < 1e-5
    with pytest.raises(RuntimeError, match="packed sequences"):
        window(X, position_ids=PACKED)
    with pytest.raises(
        attn_dsl.ArgumentError, match="row 172 .* may see key 0, which the model's mask hides"
    ):
        layer(CAUSAL)(X, position_ids=PACKED)


def test_what_the_file_does_not_keep_is_refused_when_the_program_runs() -> None:
    with pytest.raises(attn_dsl.ArgumentError, match="row 0 .* may see key 1, which the model's mask hides"):
        layer(text())(X)
    wide = WINDOW.replace("< sliding_window", "<= sliding_window")
    with pytest.raises(attn_dsl.ArgumentError, match="may see key 0, which the model's mask hides"):
        layer(wide, create_sliding_window_causal_mask, 4)(X)
    padding = torch.ones(2, 300, dtype=torch.bool)
    causal = layer(CAUSAL)
    assert causal(X, padding).shape == (2, 300, 2, 8)
    padding[1, 0] = False
    with pytest.raises(RuntimeError, match="there is padding, which of_a_model does not take"):
        causal(X, padding)
    lengths = layer(text("lengths[b]: i32", "causal_at_end(i, j) and j < lengths[b]"))
    with pytest.raises(RuntimeError, match="there is padding before keys"):
        lengths(X, padding)


def hidden_at_150(batch: Tensor, head: Tensor, row: Tensor, key: Tensor) -> Tensor:
    return key != row - 150


@pytest.mark.parametrize("given", ["blocks", "function", "whole"])
def test_masks_of_another_kind_are_refused(given: str) -> None:
    """They may show what no file of the kind keeps, or hide it anywhere. Torch wraps what is raised while it
    traces a full graph; some versions of transformers let blocks be told only when the program runs."""
    at = torch.arange(300).expand(2, -1)
    blocks = at.div(100, rounding_mode="floor")
    calls: dict[str, Callable[[], Any]] = {
        "blocks": lambda: layer(CAUSAL)(X, position_ids=at, block_sequence_ids=blocks),
        "function": lambda: layer(CAUSAL)(X, and_mask_function=hidden_at_150),
        "whole": lambda: layer(CAUSAL)(X, torch.ones(2, 1, 300, 300, dtype=torch.bool).tril()),
    }
    with pytest.raises(RuntimeError, match="Dynamo|of chunks or blocks"):
        calls[given]()
