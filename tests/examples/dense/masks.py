"""examples/masks: each mask built as a matrix of booleans, then softmax over what it keeps."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.examples.dense.attend import attend, causal, columns, rows


def sliding_window(Q: Tensor, K: Tensor, V: Tensor, window: int) -> Tensor:
    band = torch.ones(Q.shape[2], K.shape[2], dtype=torch.bool).tril().triu(1 - window)
    return attend(Q, K, V, band)


def sink_window(Q: Tensor, K: Tensor, V: Tensor, sinks: int, window: int) -> Tensor:
    keep = torch.ones(Q.shape[2], K.shape[2], dtype=torch.bool).triu(1 - window)
    keep[:, :sinks] = True
    return attend(Q, K, V, keep.tril())


def dilated_window(Q: Tensor, K: Tensor, V: Tensor, window: int, step: int) -> Tensor:
    keep = torch.zeros(Q.shape[2], K.shape[2], dtype=torch.bool)
    for i in range(Q.shape[2]):
        keep[i, [j for j in range(i, i - window * step, -step) if 0 <= j < K.shape[2]]] = True
    return attend(Q, K, V, keep)


def strided_causal(Q: Tensor, K: Tensor, V: Tensor, stride: int) -> Tensor:
    keep = torch.zeros(Q.shape[2], K.shape[2], dtype=torch.bool)
    for i in range(Q.shape[2]):
        keep[i, [j for j in [*range(i, -1, -stride), *range(i, i - stride, -1)] if 0 <= j < K.shape[2]]] = (
            True
        )
    return attend(Q, K, V, keep)


def head_strides(Q: Tensor, K: Tensor, V: Tensor, block: int, near: int, stride: int) -> Tensor:
    heads, shared = K.shape[1], Q.shape[1] // K.shape[1]
    I, J = rows(Q.shape[2]) // block, columns(K.shape[2]) // block
    step = max(1, stride // heads)
    keep = torch.stack([(near > I - J) | ((J + g * step) % stride == 0) for g in range(heads)])
    return attend(Q, K, V, keep.repeat_interleave(shared, dim=0) & causal(Q, K))


def power(Q: Tensor, K: Tensor, V: Tensor, block: int, near: int, sinks: int) -> Tensor:
    I, J = rows(Q.shape[2]) // block, columns(K.shape[2]) // block
    leap = torch.isin(I - J, torch.tensor([0] + [2**n for n in range(20)]))
    return attend(Q, K, V, causal(Q, K) & ((near > I - J) | leap | (sinks > J)))


def prefix_lm(Q: Tensor, K: Tensor, V: Tensor, n: Tensor) -> Tensor:
    prefix = columns(K.shape[2]) < n[:, None, None]
    return attend(Q, K, V, (causal(Q, K) | prefix)[:, None])


def documents(Q: Tensor, K: Tensor, V: Tensor, document: Tensor) -> Tensor:
    same = document[:, :, None] == document[:, None, :]
    return attend(Q, K, V, (same & causal(Q, K))[:, None])


def ranked_segments(Q: Tensor, K: Tensor, V: Tensor, segment: Tensor, last: int) -> Tensor:
    own, other = segment[:, :, None], segment[:, None, :]
    return attend(Q, K, V, (causal(Q, K) & ((own == other) | (other == 0) | (own == last)))[:, None])


def global_window(Q: Tensor, K: Tensor, V: Tensor, window: int, anchors: int) -> Tensor:
    reach = window // 2
    keep = torch.ones(Q.shape[2], K.shape[2], dtype=torch.bool).tril(reach).triu(-reach)
    keep[:anchors], keep[:, :anchors] = True, True
    return attend(Q, K, V, keep)


def tri_shape(Q: Tensor, K: Tensor, V: Tensor, sinks: int, window: int, last: int) -> Tensor:
    keep = torch.ones(Q.shape[2], K.shape[2], dtype=torch.bool).triu(1 - window)
    keep[:, :sinks], keep[-last:] = True, True
    return attend(Q, K, V, keep.tril())


def block_diagonal(Q: Tensor, K: Tensor, V: Tensor, block: int) -> Tensor:
    parts = zip(Q.split(block, 2), K.split(block, 2), V.split(block, 2), strict=True)
    return torch.cat([attend(q, k, v) for q, k, v in parts], dim=2)


def shifted_blocks(Q: Tensor, K: Tensor, V: Tensor, block: int) -> Tensor:
    heads = Q.shape[1]
    shift = torch.tensor([0 if h < heads / 2 else block // 2 for h in range(heads)])[:, None, None]
    same = (rows(Q.shape[2]) + shift) // block == (columns(K.shape[2]) + shift) // block
    return attend(Q, K, V, same & causal(Q, K))


def head_windows(Q: Tensor, K: Tensor, V: Tensor, sinks: Tensor, window: Tensor) -> Tensor:
    i, j = rows(Q.shape[2]), columns(K.shape[2])
    per_head = [
        (j <= i) & ((j < s) | (i - j < w)) for s, w in zip(sinks.tolist(), window.tolist(), strict=True)
    ]
    return attend(Q, K, V, torch.stack(per_head))
