"""Whether a kernel's result is what the cascade means, up to the rounding that its types entail.

    |result - value| <= error + u |value| + smallest         u: of the result's own type

with ``error`` from ``rounding``: a bound derived for every element from the statements and the data, not a
constant. An element whose bound is infinite is not judged; infinities and NaN must be the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attn_dsl.testing.precision import smallest, unit
from attn_dsl.testing.rounding import Bounded


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a result compares. ``worst``: the element that exceeds its bound the most (relative to the bound),
    or that comes closest; None where there is none to judge. ``unjudged``: elements of infinite bound."""

    elements: int
    wrong: int
    unjudged: int
    worst: tuple[int, ...] | None = None
    result: float = 0.0
    value: float = 0.0
    bound: float = 0.0

    def __str__(self) -> str:
        if self.worst is None:
            return "no element to judge"
        place = ", ".join(map(str, self.worst))
        return (
            f"{self.wrong} of {self.elements} elements are wrong; the worst at [{place}]: {self.result:.8g}, "
            f"which should be {self.value:.8g} ± {self.bound:.2g}"
        )


def compare(result: Tensor, expected: Bounded) -> Comparison:
    """Judge every element of a result. AssertionError where the shapes differ."""
    if result.shape != expected.value.shape:
        shapes = f"{tuple(result.shape)}, which should be {tuple(expected.value.shape)}"
        raise AssertionError(f"the result has shape {shapes}")
    bound = bounds(expected, result.dtype)
    got, value = result.to(torch.float64), expected.value.to(torch.float64)
    same = (got == value) | (got.isnan() & value.isnan())
    distance = torch.nan_to_num(torch.where(same, 0.0, (got - value).abs()), nan=torch.inf, posinf=torch.inf)
    judged = ~bound.isinf()
    wrong = judged & ~(distance <= bound)
    counts = result.numel(), int(wrong.sum()), int((~judged).sum())
    if not bool(judged.any()):
        return Comparison(*counts)
    excess = torch.where(judged, torch.where(same, 0.0, distance / bound.clamp(min=1e-300)), -1.0)
    flat = int(excess.argmax())
    place = tuple(int(p) for p in torch.unravel_index(torch.tensor(flat), result.shape))
    return Comparison(
        *counts,
        worst=place,
        result=float(got.flatten()[flat]),
        value=float(value.flatten()[flat]),
        bound=float(bound.flatten()[flat]),
    )


def bounds(expected: Bounded, dtype: torch.dtype) -> Tensor:
    """How far each element of a result of that dtype may be off; infinite where it may overflow."""
    if not dtype.is_floating_point or not expected.value.is_floating_point():
        return expected.error
    size = torch.nan_to_num(expected.value.abs(), nan=0.0, posinf=0.0) + expected.error
    bound = expected.error + unit(dtype) * size + smallest(dtype)
    return torch.where(size * (1 + unit(dtype)) > torch.finfo(dtype).max, torch.inf, bound)
