"""Sums at computed places: how they are held while kernels add to them, and what they come to.

On a CPU in parts, each the sum of one thread's share in a fixed order; on a GPU as the digits of an exact
sum, to which integers are added in any order (``attn_dsl.planning.keyed``).
"""

from __future__ import annotations

import torch

from attn_dsl.codegen.program import COLLECTED, Buffer
from attn_dsl.runtime.sizes import DTYPES

_UNIT = 2.0**-149  # the least positive f32
_POSITIVE, _NEGATIVE, _NAN = 1, 2, 4


def held(buffer: Buffer, shape: tuple[int, ...]) -> tuple[tuple[int, ...], torch.dtype]:
    """Shape and dtype of what holds a sum of this shape."""
    match buffer.collects:
        case "parts":
            dtype = torch.float64 if DTYPES[buffer.dtype].is_floating_point else torch.int64
            return (COLLECTED["parts"], *shape), dtype
        case "digits":
            return (*shape, COLLECTED["digits"]), torch.int64
        case _:
            return shape, torch.int64


def collect(how: str, parts: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The sums that ``parts`` hold, in their own dtype; ``how``: `Buffer.collects`."""
    match how:
        case "parts":
            return parts.sum(0).to(dtype)
        case "digits":
            return _from_digits(parts).to(dtype)
        case _:
            return parts.to(dtype)


def _from_digits(digits: torch.Tensor) -> torch.Tensor:
    count = digits.shape[-1] - 1
    weights = _UNIT * 2.0 ** (32 * torch.arange(count, dtype=torch.float64, device=digits.device))
    total = (digits[..., :count].to(torch.float64) * weights).sum(-1)
    kinds = digits[..., count]
    total = torch.where((kinds & _POSITIVE) > 0, total + torch.inf, total)
    total = torch.where((kinds & _NEGATIVE) > 0, total - torch.inf, total)
    return torch.where((kinds & _NAN) > 0, torch.nan, total)
