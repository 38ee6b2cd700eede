"""examples/multidim: the neighbourhood of every token listed axis by axis, then softmax over the product."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from tests.examples.dense.attend import attend, scores, softmax


def around(n: int, window: int, dilation: int = 1, stride: int = 1, causal: bool = False) -> Tensor:
    """keep[x, u] of one axis: the reference of "Generalized Neighborhood Attention", token by token."""
    keep = torch.zeros(n, n, dtype=torch.bool)
    for x in range(n):
        place, rest = divmod(x, dilation)
        tokens = list(range(rest, n, dilation))
        leader = min(place // stride * stride + (stride - 1 if causal else stride // 2), len(tokens) - 1)
        if causal:
            seen = tokens[max(leader - window + 1, 0) : place + 1]
        else:
            start = min(max(leader - window // 2, 0), max(len(tokens) - window, 0))
            seen = tokens[start : start + window]
        keep[x, seen] = True
    return keep


def product(*axes: Tensor) -> Tensor:
    """keep over flattened tokens from keep of each axis, the last axis fastest."""
    return reduce(lambda a, b: torch.kron(a.int(), b.int()).bool(), axes)


def neighbourhood_1d(Q: Tensor, K: Tensor, V: Tensor, window: int) -> Tensor:
    return attend(Q, K, V, around(Q.shape[2], window))


def neighbourhood_2d(Q: Tensor, K: Tensor, V: Tensor, width: int, window: int) -> Tensor:
    height = Q.shape[2] // width
    return attend(Q, K, V, product(around(height, window), around(width, window)))


def neighbourhood_bias(Q: Tensor, K: Tensor, V: Tensor, bias: Tensor, width: int, window: int) -> Tensor:
    x, y = torch.arange(Q.shape[2]) // width, torch.arange(Q.shape[2]) % width
    rows, columns = x[None, :] - x[:, None] + window - 1, y[None, :] - y[:, None] + window - 1
    inside = (rows >= 0) & (rows < 2 * window - 1) & (columns >= 0) & (columns < 2 * window - 1)
    table = bias[:, rows.clamp(0, 2 * window - 2), columns.clamp(0, 2 * window - 2)]
    keep = product(around(Q.shape[2] // width, window), around(width, window))
    return attend(Q, K, V, keep & inside, table)


def neighbourhood_3d_dilated(
    Q: Tensor, K: Tensor, V: Tensor, depth: int, width: int, window: int, dilation: int
) -> Tensor:
    height = Q.shape[2] // (depth * width)
    axes = [around(n, window, dilation=dilation) for n in (depth, height, width)]
    return attend(Q, K, V, product(*axes))


def neighbourhood_strided(Q: Tensor, K: Tensor, V: Tensor, width: int, window: int, stride: int) -> Tensor:
    axes = [around(n, window, stride=stride) for n in (Q.shape[2] // width, width)]
    return attend(Q, K, V, product(*axes))


def neighbourhood_video(Q: Tensor, K: Tensor, V: Tensor, frames: int, window: int) -> Tensor:
    time, height, width = Q.shape[1:4]
    keep = product(around(time, frames, causal=True), around(height, window), around(width, window))
    q, k, v = (x.flatten(1, 3).transpose(1, 2) for x in (Q, K, V))
    return (softmax(scores(q, k), keep) @ v).transpose(1, 2).unflatten(1, (time, height, width))
