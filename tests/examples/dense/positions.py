"""examples/positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.examples.dense.attend import attend, causal, columns, rows, scores, softmax


def alibi(Q: Tensor, K: Tensor, V: Tensor, slope: Tensor) -> Tensor:
    distance = (rows(Q.shape[2]) - columns(K.shape[2])).abs()
    return attend(Q, K, V, causal(Q, K), -slope[:, None, None] * distance)


def relative_bias(Q: Tensor, K: Tensor, V: Tensor, bias: Tensor, reach: int) -> Tensor:
    distance = (rows(Q.shape[2]) - columns(K.shape[2])).clamp(-reach, reach)
    return attend(Q, K, V, bias=bias[:, distance + reach])


def bucket_bias(Q: Tensor, K: Tensor, V: Tensor, bias: Tensor, buckets: int, furthest: int) -> Tensor:
    exact = buckets // 2

    def bucket(n: int) -> int:
        if n < exact:
            return max(n, 0)
        growth = math.log(n / exact) / math.log(furthest / exact) * (buckets - exact)
        return min(buckets - 1, exact + int(growth))

    table = torch.tensor([[bucket(i - j) for j in range(K.shape[2])] for i in range(Q.shape[2])])
    x = Q @ K.transpose(-1, -2) + bias[table].permute(2, 0, 1)
    return softmax(x, causal(Q, K)) @ V


def relative_logits(Q: Tensor, K: Tensor, V: Tensor, E: Tensor) -> Tensor:
    """By the skewing trick of the paper: pad a column, reshape, drop a row."""
    b, h, n, d = Q.shape
    logits = torch.einsum("bhid,hrd->bhir", Q, E)
    skewed = torch.cat([logits.new_zeros(b, h, n, 1), logits], -1).reshape(b, h, n + 1, n)[:, :, 1:]
    return softmax(scores(Q, K) + skewed / d**0.5, causal(Q, K)) @ V


def relative_vectors(Q: Tensor, K: Tensor, V: Tensor, A: Tensor, B: Tensor, reach: int) -> Tensor:
    """With a key and a value for every pair."""
    place = (columns(K.shape[2]) - rows(Q.shape[2])).clamp(-reach, reach) + reach
    logits = torch.einsum("bhid,bhijd->bhij", Q, K[:, :, None] + A[place]) / Q.shape[-1] ** 0.5
    return torch.einsum("bhij,bhije->bhie", logits.softmax(-1), V[:, :, None] + B[place])


def transformer_xl(Q: Tensor, K: Tensor, V: Tensor, R: Tensor, u: Tensor, v: Tensor) -> Tensor:
    distance = (rows(Q.shape[2]) - columns(K.shape[2])).clamp(min=0)
    content = (Q + u[:, None]) @ K.transpose(-1, -2)
    position = torch.einsum("bhid,hijd->bhij", Q + v[:, None], R[:, distance])
    return softmax((content + position) / Q.shape[-1] ** 0.5, causal(Q, K)) @ V


def rotary(Q: Tensor, K: Tensor, V: Tensor, base: float) -> Tensor:
    """Rotation of complex pairs (x[d], x[d + D/2])."""

    def rotated(x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        theta = base ** (-torch.arange(half, dtype=x.dtype) / half)
        turn = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * theta
        z = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(turn), turn)
        return torch.cat([z.real, z.imag], -1)

    return attend(rotated(Q), rotated(K), V, causal(Q, K))


def forgetting(Q: Tensor, K: Tensor, V: Tensor, f: Tensor) -> Tensor:
    G = torch.sigmoid(f).log().cumsum(-1)
    return attend(Q, K, V, causal(Q, K), G[..., :, None] - G[..., None, :])
