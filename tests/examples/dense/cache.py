"""examples/cache: codes unpacked into whole keys and values, then plain attention."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.examples.dense.attend import attend, causal, causal_at_end, scores, softmax


def unpacked(words: Tensor, dim: int) -> Tensor:
    """Sixteen two-bit codes from every 32-bit word, the lowest bits first, along ``dim``."""
    codes = torch.stack([(words.long() >> shift) & 3 for shift in range(0, 32, 2)], dim % words.dim() + 1)
    return codes.flatten(dim % words.dim(), dim % words.dim() + 1)


def restored(words: Tensor, scale: Tensor, zero: Tensor, group: int, dim: int) -> Tensor:
    """code · scale + zero, a scale and zero for every ``group`` codes along ``dim``."""
    n = words.shape[dim] * 16
    wide = [x.repeat_interleave(group, dim).narrow(dim, 0, n) for x in (scale, zero)]
    return unpacked(words, dim) * wide[0] + wide[1]


def two_bit(
    Q: Tensor, KC: Tensor, KS: Tensor, KZ: Tensor, VC: Tensor, VS: Tensor, VZ: Tensor, group: int
) -> Tensor:
    K, V = restored(KC, KS, KZ, group, 2), restored(VC, VS, VZ, group, 3)
    return attend(Q, K, V, causal_at_end(Q, K))


def two_bit_recent(
    Q: Tensor, KC: Tensor, KS: Tensor, KZ: Tensor, VC: Tensor, VS: Tensor, VZ: Tensor, KR: Tensor, VR: Tensor,
    group: int,
) -> Tensor:  # fmt: skip
    K, V = restored(KC, KS, KZ, group, 2), restored(VC, VS, VZ, group, 3)
    return attend(Q, torch.cat([K, KR], 2), torch.cat([V, VR], 2))


def eight_bit(Q: Tensor, KC: Tensor, VC: Tensor, sk: Tensor, sv: Tensor) -> Tensor:
    return attend(Q, KC * sk[..., None], VC * sv[..., None], causal_at_end(Q, KC))


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


def token_gather(Q: Tensor, K: Tensor, V: Tensor, list: Tensor) -> Tensor:
    chosen = list.long()[..., None]
    return attend(Q, K.take_along_dim(chosen, 2), V.take_along_dim(chosen, 2))


def column_sums(Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    P = softmax(scores(Q, K), causal(Q, K))
    return P @ V, P.sum(-2)


def diagonal_sums(Q: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    P = softmax(scores(Q, K), causal(Q, K))
    n, m = P.shape[-2:]
    diagonals = [P.diagonal(offset, -2, -1).sum(-1) for offset in range(m - 1, -n, -1)]
    return P.sum(-2), torch.stack(diagonals, -1)
