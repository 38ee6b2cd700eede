"""Attentions by hand, as a kernel computes them: what ``check`` and its bounds are tried on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from attn_dsl.ir.cascade import Cascade
from attn_dsl.language.load import load_text

CAUSAL = """attention causal
input Q[b, h, i, d], K[b, h, j, d], V[b, h, j, e]
S[b,h,i,j] += Q[b,h,i,d] * K[b,h,j,d]
X[b,h,i,j]  = S[b,h,i,j] / sqrt(size(d))  where j <= i
P[b,h,i,j]  = softmax[j](X[b,h,i,j])
O[b,h,i,e] += P[b,h,i,j] * V[b,h,j,e]
output O[b, h, i, e]
"""


@dataclass(frozen=True)
class Handmade:
    """What ``check`` needs of an attention, around a function."""

    cascade: Cascade
    function: Callable[..., Tensor | tuple[Tensor, ...]]
    params: dict[str, int | float | bool] = field(default_factory=dict)
    target: str | None = None

    def __call__(self, **arguments: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.function(**arguments)


def causal(function: Callable[..., Tensor]) -> Handmade:
    """A function that claims to be causal attention."""
    return Handmade(load_text(CAUSAL).cascade, function)


def flash(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    *,
    tile: int = 16,
    strict: bool = False,
    skipped: int | None = None,
    accumulator: torch.dtype = torch.float32,
) -> Tensor:
    """Causal attention in one pass: scores in f32, weights rounded to the inputs' dtype for the second
    product. ``strict``, ``skipped`` and a low ``accumulator`` make it wrong."""
    dtype = torch.promote_types(torch.promote_types(Q.dtype, K.dtype), V.dtype)
    rows, keys = torch.arange(Q.shape[2])[:, None], torch.arange(K.shape[2])
    keep = keys < rows if strict else keys <= rows
    keep = keep & (keys != skipped) if skipped is not None else keep
    scale = math.log2(math.e) / math.sqrt(Q.shape[3]) if Q.shape[3] else 1.0
    scores = (Q.float() @ K.float().mT * scale).masked_fill(~keep, -torch.inf)
    top = torch.full(scores.shape[:-1], -torch.inf)
    total = torch.zeros_like(top)
    out = torch.zeros(*Q.shape[:3], V.shape[3], dtype=accumulator)
    for start in range(0, K.shape[2], tile):
        x = scores[..., start : start + tile]
        new = torch.maximum(top, x.amax(-1))
        base = torch.where(new == -torch.inf, 0.0, new)
        old, weights = torch.exp2(top - base), torch.exp2(x - base[..., None])
        total = total * old + weights.sum(-1)
        part = weights.to(V.dtype).float() @ V[:, :, start : start + tile].float()
        out = (out * old[..., None]).to(accumulator) + part.to(accumulator)
        top = new
    return torch.where(total[..., None] > 0, out.float() / total[..., None], 0.0).to(dtype)
