"""examples/cache: codes unpacked into whole keys and values, then plain attention."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.examples.dense.attend import attend, causal_at_end


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
