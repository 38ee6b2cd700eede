"""examples/heads."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tests.examples.dense.attend import (
    attend,
    causal,
    causal_at_end,
    columns,
    rows,
    scores,
    softmax,
    weighted,
)


def grouped_query(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    return scaled_dot_product_attention(Q, K, V, is_causal=True, enable_gqa=True)


def multi_query(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    return attend(Q, K[:, None], V[:, None], causal_at_end(Q, K))


def sparse_query(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    return attend(Q.repeat_interleave(K.shape[1] // Q.shape[1], dim=1), K, V)


def sizes(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    return attend(Q, K, V, causal(Q, K))


def differential(Q1: Tensor, K1: Tensor, Q2: Tensor, K2: Tensor, V: Tensor, lam: Tensor) -> Tensor:
    keep = causal(Q1, K1)
    return (softmax(scores(Q1, K1), keep) - lam[:, None, None] * softmax(scores(Q2, K2), keep)) @ V


def latent(Qn: Tensor, Qr: Tensor, C: Tensor, Kr: Tensor, head: int) -> Tensor:
    query, key = torch.cat([Qn, Qr], -1), torch.cat([C, Kr], -1)[:, None]
    x = query @ key.transpose(-1, -2) / head**0.5
    return softmax(x, causal_at_end(query, key)) @ C[:, None]


def head_gates(Q: Tensor, K: Tensor, V: Tensor, gate: Tensor) -> Tensor:
    return attend(Q, K, V, causal(Q, K)) * gate.transpose(1, 2)[..., None]


def gated_output(Q: Tensor, K: Tensor, V: Tensor, G: Tensor) -> Tensor:
    return attend(Q, K, V, causal(Q, K)) / (1 + torch.exp(-G))


def output_projection(Q: Tensor, K: Tensor, V: Tensor, W: Tensor) -> Tensor:
    heads = attend(Q, K, V, causal(Q, K))
    return heads.transpose(1, 2).flatten(2) @ W.flatten(0, 1)


def full_and_streaming(Q: Tensor, K: Tensor, V: Tensor, alpha: Tensor, sinks: int, recent: int) -> Tensor:
    i, j = rows(Q.shape[2]), columns(K.shape[2])
    x, past = scores(Q, K), causal(Q, K)
    full, stream = softmax(x, past), softmax(x, past & ((j < sinks) | (i - j < recent)))
    a = alpha.repeat_interleave(Q.shape[1] // K.shape[1])[:, None, None]
    return weighted(a * full + (1 - a) * stream, V)
