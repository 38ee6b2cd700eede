"""examples/coming."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.examples.dense.attend import attend, causal, columns, rows


def block_selection(Q: Tensor, K: Tensor, V: Tensor, block: int, chosen: int) -> Tensor:
    groups, n = K.shape[1], K.shape[2]
    pooled = torch.stack([part.mean(2) for part in K.split(block, 2)], 2)
    votes = Q.unflatten(1, (groups, -1)).sum(2) @ pooled.mT
    begun = columns(pooled.shape[2]) * block <= rows(Q.shape[2])
    best = torch.where(begun, votes, -torch.inf).topk(min(chosen, pooled.shape[2])).indices
    selected = torch.zeros_like(votes, dtype=torch.bool).scatter(-1, best, True) & begun
    keep = selected.repeat_interleave(block, -1)[..., :n] & causal(Q, K)
    return attend(Q, K, V, keep.repeat_interleave(Q.shape[1] // groups, 1))
