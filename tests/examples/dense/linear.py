"""examples/linear: token by token, as recurrences over the state Kᵀ V."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import elu, silu


def recurrence(Q: Tensor, K: Tensor, V: Tensor, decay: Tensor) -> Tensor:
    """O[i] = Q[i] M[i], M[i] = decay · M[i − 1] + K[i] V[i]ᵀ."""
    state, results = torch.zeros_like(K[:, :, :1].mT @ V[:, :, :1]), list[Tensor]()
    for i in range(Q.shape[2]):
        state = decay[:, None, None] * state + K[:, :, i, :, None] * V[:, :, i, None, :]
        results.append(torch.einsum("bhd,bhde->bhe", Q[:, :, i], state))
    return torch.stack(results, 2)


def retention(Q: Tensor, K: Tensor, V: Tensor, gamma: Tensor) -> Tensor:
    return recurrence(Q, K, V, gamma)


def lightning(Q: Tensor, K: Tensor, V: Tensor, slope: Tensor) -> Tensor:
    return recurrence(silu(Q), silu(K), V, torch.exp(-slope))


def linear(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    q, k, keep_all = elu(Q) + 1, elu(K) + 1, torch.ones(Q.shape[1], dtype=Q.dtype)
    ones = torch.ones_like(V[..., :1])
    return recurrence(q, k, V, keep_all) / recurrence(q, k, ones, keep_all)
