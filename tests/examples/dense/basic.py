"""examples/basic."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tests.examples.dense.attend import causal_at_end


def dense(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    return scaled_dot_product_attention(Q, K, V)


def cross_causal(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    return scaled_dot_product_attention(Q, K, V, attn_mask=causal_at_end(Q, K))
