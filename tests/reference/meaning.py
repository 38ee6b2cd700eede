"""Evaluate a text on arguments; sizes come from the arguments where a dimension is one index."""

import torch
from torch import Tensor

from attn_dsl.language.load import load_text
from attn_dsl.reference import evaluate


def meaning(
    text: str, arguments: dict[str, Tensor], params: dict[str, int | float | bool] | None = None, **sizes: int
) -> dict[str, Tensor]:
    """The results of the attention that ``text`` states, by name."""
    cascade = load_text(text if text.lstrip().startswith("attention") else f"attention test\n{text}").cascade
    for declared in cascade.inputs:
        for axis, extent in zip(declared.axes, arguments[declared.name].shape, strict=True):
            if len(axis.indices) == 1:
                sizes.setdefault(axis.indices[0], extent)
    values = {p.name: p.default for p in cascade.params if p.default is not None} | (params or {})
    return evaluate(cascade, values, arguments, sizes)


def attend(scores: Tensor, keep: Tensor, values: Tensor) -> Tensor:
    """Softmax attention over the kept pairs by hand; 0 for a row that keeps none."""
    scores = scores.masked_fill(~keep, -torch.inf)
    weights = torch.softmax(scores, -1).nan_to_num(0.0)
    return weights @ values


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64, the same every time."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
