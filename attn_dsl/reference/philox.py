"""Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
2011).

The layout of ``uniform(seed, c0, c1, c2, c3)``, the same on every target:

    key      = (seed mod 2^32, (seed >> 32) mod 2^32)
    counter  = (c0, c1, c2, c3), each mod 2^32; 0 for a coordinate that is not given
    result   = (first output word >> 8) * 2^-24        in [0, 1), exact in f32
"""

from __future__ import annotations

import torch
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_WORD = 0xFFFFFFFF


def uniform(seed: Tensor, coordinates: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
    """Random numbers in [0, 1), one for each element of the arguments broadcast together."""
    counter = [c & _WORD for c in coordinates]
    counter += [torch.zeros_like(seed)] * (4 - len(counter))
    words = philox((counter[0], counter[1], counter[2], counter[3]), (seed & _WORD, (seed >> 32) & _WORD))
    return (words[0] >> 8).to(dtype) * 2.0**-24


def philox(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four output words. All words are int64 tensors that hold a value below 2^32."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _wide_product(_MULTIPLIERS[0], c0)
        high1, low1 = _wide_product(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1, c2, c3


def _wide_product(multiplier: int, word: Tensor) -> tuple[Tensor, Tensor]:
    """The high and low word of a 32 by 32 bit product. By halves: the whole would not fit a signed 64-bit."""
    low_part = multiplier * (word & 0xFFFF)
    high_part = multiplier * (word >> 16) + (low_part >> 16)
    return high_part >> 16, ((high_part & 0xFFFF) << 16) | (low_part & 0xFFFF)
