"""Dense softmax attention and the position grids that the other modules build on."""

from __future__ import annotations

import torch
from torch import Tensor


def rows(n: int) -> Tensor:
    """Query positions as a column."""
    return torch.arange(n)[:, None]


def columns(n: int) -> Tensor:
    """Key positions as a row."""
    return torch.arange(n)[None, :]


def causal(Q: Tensor, K: Tensor) -> Tensor:
    """The lower triangle, aligned at the first token."""
    return columns(K.shape[-2]) <= rows(Q.shape[-2])


def causal_at_end(Q: Tensor, K: Tensor) -> Tensor:
    """The lower triangle, aligned so that the last query sees every key."""
    return torch.ones(Q.shape[-2], K.shape[-2], dtype=torch.bool).tril(K.shape[-2] - Q.shape[-2])


def scores(Q: Tensor, K: Tensor) -> Tensor:
    """Q Kᵀ / √d, key heads repeated for the query heads that share them."""
    K = K.repeat_interleave(Q.shape[-3] // K.shape[-3], dim=-3)
    return Q @ K.transpose(-1, -2) / Q.shape[-1] ** 0.5


def softmax(x: Tensor, keep: Tensor | bool = True) -> Tensor:
    """Softmax over the kept keys; a row that keeps none is zero."""
    hidden = torch.where(torch.as_tensor(keep), x, -torch.inf)
    return hidden.softmax(-1).nan_to_num(0.0)


def weighted(P: Tensor, V: Tensor) -> Tensor:
    """P V, value heads repeated for the heads that share them."""
    return P @ V.repeat_interleave(P.shape[-3] // V.shape[-3], dim=-3)


def attend(Q: Tensor, K: Tensor, V: Tensor, keep: Tensor | bool = True, bias: Tensor | float = 0.0) -> Tensor:
    """softmax(Q Kᵀ / √d + bias) V over the kept keys."""
    return weighted(softmax(scores(Q, K) + bias, keep), V)
