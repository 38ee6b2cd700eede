"""examples/coming."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.examples.dense.attend import attend, causal, columns, rows, scores, softmax


def block_selection(Q: Tensor, K: Tensor, V: Tensor, block: int, chosen: int) -> Tensor:
    groups, n = K.shape[1], K.shape[2]
    pooled = torch.stack([part.mean(2) for part in K.split(block, 2)], 2)
    votes = Q.unflatten(1, (groups, -1)).sum(2) @ pooled.mT
    begun = columns(pooled.shape[2]) * block <= rows(Q.shape[2])
    best = torch.where(begun, votes, -torch.inf).topk(min(chosen, pooled.shape[2])).indices
    selected = torch.zeros_like(votes, dtype=torch.bool).scatter(-1, best, True) & begun
    keep = selected.repeat_interleave(block, -1)[..., :n] & causal(Q, K)
    return attend(Q, K, V, keep.repeat_interleave(Q.shape[1] // groups, 1))


def page_table(Q: Tensor, K: Tensor, V: Tensor, page: Tensor, length: Tensor) -> Tensor:
    results = list[Tensor]()
    for b, n in enumerate(length.tolist()):
        k, v = (x[page[b].long()].flatten(0, 1)[:n].transpose(0, 1) for x in (K, V))
        aligned = torch.ones(Q.shape[2], n, dtype=torch.bool).tril(n - Q.shape[2])
        results.append(attend(Q[b], k, v, aligned))
    return torch.stack(results)


def lengths(Q: Tensor, K: Tensor, V: Tensor, length: Tensor) -> Tensor:
    parts = [attend(Q[b], K[b, :, :n], V[b, :, :n]) for b, n in enumerate(length.tolist())]
    return torch.stack(parts)


def column_sums(Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    P = softmax(scores(Q, K), causal(Q, K))
    return P @ V, P.sum(-2)


def diagonal_sums(Q: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    P = softmax(scores(Q, K), causal(Q, K))
    n, m = P.shape[-2:]
    diagonals = [P.diagonal(offset, -2, -1).sum(-1) for offset in range(m - 1, -n, -1)]
    return P.sum(-2), torch.stack(diagonals, -1)


def token_gather(Q: Tensor, K: Tensor, V: Tensor, list: Tensor) -> Tensor:
    chosen = list.long()[..., None]
    return attend(Q, K.take_along_dim(chosen, 2), V.take_along_dim(chosen, 2))


def forgetting(Q: Tensor, K: Tensor, V: Tensor, f: Tensor) -> Tensor:
    G = torch.sigmoid(f).log().cumsum(-1)
    return attend(Q, K, V, causal(Q, K), G[..., :, None] - G[..., None, :])


def convolved(X: Tensor, W: Tensor) -> Tensor:
    """A causal depthwise convolution along the tokens, by torch's own."""
    b, h, n, d = X.shape
    taps = W.shape[-1]
    signal = torch.nn.functional.pad(X.permute(0, 1, 3, 2).reshape(b, h * d, n), (taps - 1, 0))
    result = torch.nn.functional.conv1d(signal, W.flip(-1).reshape(h * d, 1, taps), groups=h * d)
    return result.reshape(b, h, d, n).permute(0, 1, 3, 2)


def convolved_keys(Q: Tensor, K: Tensor, V: Tensor, WK: Tensor, WV: Tensor) -> Tensor:
    return attend(Q, convolved(K, WK), convolved(V, WV), causal(Q, K))


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
