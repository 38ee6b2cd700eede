"""What a kernel computes in, as unit roundoffs: the design's rules for the types of the inputs.

pointwise and accumulation   f32; f64 where an input is f64
operands of a contraction    the inputs' own type (tf32 where torch allows it for f32)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

# Half the distance from 1 to the next number: round to nearest errs by no more, relatively.
_UNIT = {
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
    torch.float32: 2.0**-24,
    torch.float64: 2.0**-53,
}
_TF32_UNIT = 2.0**-11
# Half the distance between the smallest numbers; f32 arithmetic may flush everything subnormal to zero.
_SMALLEST = {
    torch.float16: 2.0**-25,
    torch.bfloat16: 2.0**-126,
    torch.float32: 2.0**-126,
    torch.float64: 2.0**-1022,
}


def unit(dtype: torch.dtype) -> float:
    """The relative error of rounding to a floating dtype."""
    return _UNIT[dtype]


def smallest(dtype: torch.dtype) -> float:
    """The absolute error of rounding to a floating dtype, near zero."""
    return _SMALLEST[dtype]


@dataclass(frozen=True, slots=True)
class Precision:
    """Relative (``unit``) and absolute (``smallest``) rounding errors of pointwise arithmetic and of the
    operands of a contraction; ``largest``: beyond these magnitudes there is infinity."""

    pointwise: float
    pointwise_smallest: float
    pointwise_largest: float
    operand: float
    operand_smallest: float
    operand_largest: float

    @staticmethod
    def of(dtypes: Iterable[torch.dtype]) -> Precision:
        """That of a kernel whose inputs have these dtypes."""
        real = [d for d in dtypes if d.is_floating_point]
        point = torch.float64 if torch.float64 in real else torch.float32
        operand = max((d for d in real if d.itemsize < 8), key=unit, default=torch.float32)
        if point is torch.float64:
            operand = torch.float64
        coarse = operand is torch.float32 and torch.get_float32_matmul_precision() != "highest"
        return Precision(
            # The reference rounds too, in f64.
            pointwise=unit(point) + unit(torch.float64),
            pointwise_smallest=smallest(point),
            pointwise_largest=torch.finfo(point).max,
            operand=_TF32_UNIT if coarse else unit(operand),
            operand_smallest=smallest(operand),
            operand_largest=torch.finfo(operand).max,
        )
