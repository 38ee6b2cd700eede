"""Small models of several families, at random weights, in double precision: a file gives what their own
attention does.

Sums of some dozen terms of order 1 through two layers: with a unit of 2^-53, 1e-12 leaves room for ten
thousand. Where a model has eager attention only, which takes its softmax in f32 always, all is in f32: 1e-5
is two hundred units.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    T5Config,
    T5EncoderModel,
)

import attn_dsl
from tests.transformers.texts import CAUSAL_PADDED, MASKED, WINDOW, text

EXACT, IN_F32 = 1e-12, 1e-5
SIZES: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0,
}  # fmt: skip


def build(config: type[Any], model: type[Any], dtype: torch.dtype = torch.float64, **further: Any) -> Any:
    torch.manual_seed(0)
    return model(config(**{**SIZES, **further})).to(dtype).eval()


def tokens(length: int = 9, padding: int = 0) -> dict[str, Tensor]:
    """Two sequences, the second with padding in front."""
    ids = torch.randint(1, 40, (2, length), generator=torch.Generator().manual_seed(1))
    present = torch.ones_like(ids)
    present[1, :padding] = 0
    return {"input_ids": ids, "attention_mask": present}


def loss_and_gradients(model: PreTrainedModel, given: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    labels = given["input_ids"].masked_fill(given["attention_mask"] == 0, -100)
    loss = model(**given, labels=labels).loss
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def require_same(model: PreTrainedModel, name: str, given: dict[str, Tensor], own: str = "sdpa") -> None:
    """The same loss and the same gradient of every weight as with the model's own attention."""
    bound = EXACT if own == "sdpa" else IN_F32
    model.set_attn_implementation(own)
    loss, gradients = loss_and_gradients(model, given)
    model.set_attn_implementation(name)
    ours, found = loss_and_gradients(model, given)
    assert (ours - loss).abs() < bound
    assert found.keys() == gradients.keys()
    for weight, gradient in gradients.items():
        assert (found[weight] - gradient).abs().max() < bound, weight


@torch.no_grad()
def require_same_states(model: Any, name: str, given: dict[str, Tensor], own: str = "sdpa") -> None:
    """The same last states, or logits, at every token."""
    found: list[Tensor] = []
    for implementation in (own, name):
        model.set_attn_implementation(implementation)
        found.append(model(**given)[0][given["attention_mask"].bool()])
    assert (found[0] - found[1]).abs().max() < (EXACT if own == "sdpa" else IN_F32)


def require_same_generation(model: Any, name: str, given: dict[str, Tensor]) -> None:
    """The same tokens with a cache: many queries first, then one at a time for all the keys."""
    found: list[Tensor] = []
    for implementation in ("sdpa", name):
        model.set_attn_implementation(implementation)
        found.append(model.generate(**given, max_new_tokens=12, do_sample=False))
    assert found[0].shape == (2, given["input_ids"].shape[1] + 12)
    assert torch.equal(*found)


def test_llama_with_grouped_heads_and_padding() -> None:
    attn_dsl.transformers.register("llama", CAUSAL_PADDED)
    model = build(LlamaConfig, LlamaForCausalLM)
    require_same(model, "llama", tokens())
    require_same(model, "llama", tokens(padding=3))
    require_same_generation(model, "llama", tokens(padding=3))


def test_mistral_with_a_sliding_window_that_the_model_gives() -> None:
    attn_dsl.transformers.register("mistral", WINDOW)
    model = build(MistralConfig, MistralForCausalLM, sliding_window=5)
    require_same_states(model, "mistral", tokens())
    require_same_generation(model, "mistral", tokens())  # the cache drops keys that no window reaches


def test_gpt_oss_with_sinks_that_are_learned() -> None:
    source = text(
        "mask[b, _, i, j]: bool, sink[(g r)]",
        "mask[b,0,i,j]",
        weight="softmax_sink[j](X[b,g,r,i,j], sink[g,r])",
    )
    attn_dsl.transformers.register("gpt_oss", source, takes={"sink": "s_aux"})
    few = {"sliding_window": 4, "num_local_experts": 2, "num_experts_per_tok": 1}
    model = build(GptOssConfig, GptOssForCausalLM, torch.float32, **few)
    require_same(model, "gpt_oss", tokens(padding=2), own="eager")


def test_gemma_with_a_soft_cap_and_a_scale_of_its_own() -> None:
    score = "softcap(S[b,g,r,i,j] * scaling, softcap_of)"
    source = text("mask[b, i, j]", score=f"{score} + mask[b,i,j]", params="softcap_of: float; scaling: float")
    attn_dsl.transformers.register("gemma", source, takes={"softcap_of": "softcap"})
    model = build(Gemma2Config, Gemma2ForCausalLM, torch.float32, sliding_window=4, query_pre_attn_scalar=9)
    require_same_states(model, "gemma", tokens(padding=2), own="eager")


def test_t5_with_a_position_bias() -> None:
    source = text(
        "mask[b, _, i, j]: bool, position_bias[_, (g r), i, j]", "mask[b,0,i,j]",
        score="S[b,g,r,i,j] + position_bias[0,g,r,i,j]",
    )  # fmt: skip
    attn_dsl.transformers.register("t5", source)
    config = T5Config(vocab_size=40, d_model=32, d_kv=8, d_ff=24, num_layers=2, num_heads=4)
    torch.manual_seed(0)
    model = T5EncoderModel(config).to(torch.float64).eval()
    require_same_states(model, "t5", tokens(padding=2))


def two_sided(window: str) -> str:
    return text("keep[b, j]: bool", f"keep[b, j] and abs(i - j) {window}", params="sliding_window: int")


@pytest.mark.parametrize("padding", [0, 2])
def test_modernbert_whose_window_has_two_sides(padding: int) -> None:
    """Its mask is made for half of the window, and its attention is called with one more."""
    attn_dsl.transformers.register("two_sided", two_sided("< sliding_window"))
    attn_dsl.transformers.register("too_wide", two_sided("<= sliding_window"))
    model = build(
        ModernBertConfig, ModernBertModel, local_attention=4, layer_types=["sliding_attention"] * 2,
        cls_token_id=1, sep_token_id=2,
    )  # fmt: skip
    require_same_states(model, "two_sided", tokens(padding=padding))
    model.set_attn_implementation("too_wide")
    with pytest.raises(attn_dsl.ArgumentError, match="may see key .*, which the model's mask hides"):
        model(**tokens(padding=padding))


def test_dropout_is_drawn_anew_at_each_call_and_is_off_in_evaluation() -> None:
    weight = "softmax[j](X[b,g,r,i,j]) * (uniform(seed, b, g * size(r) + r, i, j) >= dropout) / (1 - dropout)"
    source = text("seed: i64", "causal_at_end(i, j)", weight=weight, params="dropout: float")
    attn_dsl.transformers.register("dropped", source)
    model = build(LlamaConfig, LlamaForCausalLM, attention_dropout=0.5)
    given = tokens()
    require_same_states(model, "dropped", given)
    with torch.no_grad():
        model.train()
        first, second = (_seeded(model, given, seed) for seed in (1, 2))
        assert not torch.equal(first, second)
        assert torch.equal(first, _seeded(model, given, 1))


def _seeded(model: Any, given: dict[str, Tensor], seed: int) -> Tensor:
    torch.manual_seed(seed)
    return model(**given).logits


def test_a_tensor_that_the_attention_modules_hold_is_learned() -> None:
    score = "S[b,g,r,i,j] / sqrt(size(d)) - slope[g,r] * (i - size(i) - (j - size(j)))"
    attn_dsl.transformers.register("sloped", text("slope[(g r)]", "causal_at_end(i, j)", score=score))
    model = build(LlamaConfig, LlamaForCausalLM)
    for layer in model.model.layers:
        layer.self_attn.slope = torch.nn.Parameter(torch.full((4,), 0.1, dtype=torch.float64))
    model.set_attn_implementation("sloped")
    _, gradients = loss_and_gradients(model, tokens())
    for n in range(2):
        assert gradients[f"model.layers.{n}.self_attn.slope"].abs().min() > 0


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_the_model_s_own_attention_is_left_as_it_is(implementation: str) -> None:
    with pytest.raises(attn_dsl.ArgumentError, match="already"):
        attn_dsl.transformers.register(implementation, MASKED)
