"""examples/basic."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tests.examples.dense.attend import attend, causal, causal_at_end, scores, softmax


def dense(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    return scaled_dot_product_attention(Q, K, V)


def cross_causal(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    return scaled_dot_product_attention(Q, K, V, attn_mask=causal_at_end(Q, K))


def philox(counter: tuple[int, ...], seed: int) -> int:
    """The first word of Philox 4x32-10 (Salmon et al., "Parallel Random Numbers", 2011)."""
    word = 2**32 - 1
    a, b, c, d = counter
    low, high = seed & word, seed >> 32 & word
    for _ in range(10):
        left, right = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = right >> 32 ^ b ^ low, right & word, left >> 32 ^ d ^ high, left & word
        low, high = low + 0x9E3779B9 & word, high + 0xBB67AE85 & word
    return a


def dropout(Q: Tensor, K: Tensor, V: Tensor, seed: Tensor, rate: float) -> Tensor:
    P = softmax(scores(Q, K))
    uniform = [(philox(place, int(seed)) >> 8) / 2**24 for place in product(*map(range, P.shape))]
    kept = torch.tensor(uniform, dtype=P.dtype).reshape(P.shape) >= rate
    return P * kept / (1 - rate) @ V


def convolved(X: Tensor, W: Tensor) -> Tensor:
    """A causal depthwise convolution along the tokens, by torch's own."""
    b, h, n, d = X.shape
    taps = W.shape[-1]
    signal = torch.nn.functional.pad(X.permute(0, 1, 3, 2).reshape(b, h * d, n), (taps - 1, 0))
    result = torch.nn.functional.conv1d(signal, W.flip(-1).reshape(h * d, 1, taps), groups=h * d)
    return result.reshape(b, h, d, n).permute(0, 1, 3, 2)


def convolved_keys(Q: Tensor, K: Tensor, V: Tensor, WK: Tensor, WV: Tensor) -> Tensor:
    return attend(Q, convolved(K, WK), convolved(V, WV), causal(Q, K))
