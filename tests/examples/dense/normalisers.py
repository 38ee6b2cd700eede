"""examples/normalisers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import gelu
from torch.nn.functional import softplus as softplus_of

from tests.examples.dense.attend import attend, causal, columns, rows, scores, softmax, weighted


def soft_cap(Q: Tensor, K: Tensor, V: Tensor, cap: float) -> Tensor:
    return weighted(softmax(cap * torch.tanh(scores(Q, K) / cap), causal(Q, K)), V)


def temperature(Q: Tensor, K: Tensor, V: Tensor, tau: Tensor, sigma: Tensor) -> Tensor:
    return attend(tau[..., None] * Q, K, sigma[..., None] * V, causal(Q, K))


def length_scale(Q: Tensor, K: Tensor, V: Tensor, trained: int) -> Tensor:
    scale = torch.tensor([max(1.0, math.log(i + 1, trained)) for i in range(Q.shape[2])], dtype=Q.dtype)
    return attend(scale[:, None] * Q, K, V, causal(Q, K))


def softmax_one(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    zero_key, zero_value = torch.zeros_like(K[:, :, :1]), torch.zeros_like(V[:, :, :1])
    keep = torch.cat([torch.ones(Q.shape[2], 1, dtype=torch.bool), causal(Q, K)], 1)
    return attend(Q, torch.cat([zero_key, K], 2), torch.cat([zero_value, V], 2), keep)


def sink_logits(Q: Tensor, K: Tensor, V: Tensor, sink: Tensor, window: int) -> Tensor:
    i, j = rows(Q.shape[2]), columns(K.shape[2])
    weights = scores(Q, K).exp() * ((j <= i) & (i - j < window))
    return weighted(weights / (weights.sum(-1, keepdim=True) + sink.exp()[:, None, None]), V)


def sink_key(Q: Tensor, K: Tensor, V: Tensor, KS: Tensor, VS: Tensor) -> Tensor:
    key = torch.cat([KS[None, :, None].expand(K.shape[0], -1, -1, -1), K], 2)
    value = torch.cat([VS[None, :, None].expand(V.shape[0], -1, -1, -1), V], 2)
    keep = torch.cat([torch.ones(Q.shape[2], 1, dtype=torch.bool), causal(Q, K)], 1)
    return attend(Q, key, value, keep)


def sigmoid(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    return torch.sigmoid(scores(Q, K) - math.log(K.shape[2])) @ V


def relu_squared(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    return (torch.relu(Q @ K.mT / K.shape[2]).square() * causal(Q, K)) @ V


def softplus(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    weights = softplus_of(math.log(Q.shape[3]) * scores(Q, K)) * causal(Q, K)
    return weights / weights.sum(-1, keepdim=True) @ V


def softplus_reweighted(Q: Tensor, K: Tensor, V: Tensor, power: int, first: int) -> Tensor:
    n = rows(Q.shape[2]).to(Q.dtype) + 1
    cosine = torch.nn.functional.normalize(Q, dim=-1) @ torch.nn.functional.normalize(K, dim=-1).mT
    A = softplus_of(math.log(Q.shape[3]) * n.log() * cosine) * causal(Q, K)
    A = A / A.sum(-1, keepdim=True)
    B = torch.relu(A * n - (n > first).to(Q.dtype)) ** power
    return B / B.sum(-1, keepdim=True) @ V


def parameter_tokens(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    S = Q @ K.T
    return gelu(S / S.norm(dim=-1, keepdim=True) * K.shape[0] ** 0.5) @ V


def grouped_softmax(Q: Tensor, L: Tensor, K: Tensor, V: Tensor, block: int) -> Tensor:
    outer = scores(Q, L).softmax(-1).repeat_interleave(block, -1)
    inner = scores(Q, K).unflatten(-1, (-1, block)).softmax(-1).flatten(-2)
    return (outer * inner) @ V


def entropy(Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    P = softmax(scores(Q, K), causal(Q, K))
    seen = torch.where(causal(Q, K), P, 1.0)  # the derivative of entr at 0 is infinite
    return P @ V, -(P * seen.log()).sum(-1)


entropy_of_weights = entropy


def statistics(Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.where(causal(Q, K), scores(Q, K), -torch.inf)
    return weighted(x.softmax(-1), V), x.amax(-1), x.logsumexp(-1)


def landmark(Q: Tensor, K: Tensor, V: Tensor, block: int) -> Tensor:
    """Row by row, as the definition reads."""
    x, out = scores(Q, K), torch.zeros(*Q.shape[:3], V.shape[3], dtype=Q.dtype)
    for i in range(Q.shape[2]):
        own = [j for j in range(i // block * block, i + 1) if j % block != block - 1]
        marks = [c * block + block - 1 for c in range(i // block)]
        share = x[:, :, i, marks + own].softmax(-1)
        for place, mark in enumerate(marks):
            tokens = slice(mark - block + 1, mark)
            inside = x[:, :, i, tokens].softmax(-1)[..., None] * V[:, :, tokens]
            out[:, :, i] += share[..., place, None] * inside.sum(2)
        out[:, :, i] += (share[..., len(marks) :, None] * V[:, :, own]).sum(2)
    return out
