"""Which operands of a contraction a kernel rounds to the inputs' type before it multiplies them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.expr import Cast, Default, Detach, Expr, Op, Read, Select
from attn_dsl.ir.walk import index_names, walk
from attn_dsl.testing.precision import Precision, unit


@dataclass(frozen=True, slots=True)
class Operands:
    """``exact``: inputs whose elements survive the rounding; ``pointwise``: the bodies of computed tensors
    that a kernel may put in place of a read."""

    exact: frozenset[str]
    pointwise: Mapping[str, Expr]

    @staticmethod
    def of(cascade: Cascade, arguments: Mapping[str, Tensor], precision: Precision) -> Operands:
        """For a call with these arguments."""
        exact = (
            name
            for name, a in arguments.items()
            if a.dtype.is_floating_point and unit(a.dtype) >= precision.operand
        )
        bodies = {s.target: s.body for s in cascade.statements if isinstance(s, Einsum) and s.reduce is None}
        return Operands(frozenset(exact), bodies)

    def is_exact(self, factor: Expr) -> bool:
        """Whether a factor is an element of an input, as it is."""
        return isinstance(factor, Read) and factor.tensor in self.exact

    def roundings(self, body: Expr, over: tuple[str, ...]) -> int:
        """How many operands of the products that are summed over ``over`` may be rounded."""
        match body:
            case Op(name="mul" | "div" | "neg"):
                varying = [f for f in _factors(body) if set(index_names(f)) & set(over)]
                if len(varying) < 2:
                    return max((self.roundings(f, over) for f in varying), default=0)
                return 0 if len(varying) == 2 and all(map(self.is_exact, varying)) else 2
            case Op(name="add" | "sub", args=args):
                return max(self.roundings(a, over) for a in args)
            case Select(then=a, otherwise=b) | Default(value=a, fallback=b):
                return max(self.roundings(a, over), self.roundings(b, over))
            case Cast(value=value) | Detach(value=value):
                return self.roundings(value, over)
            case Read(tensor=tensor) if tensor in self.pointwise:
                products = (n for n in walk(self.pointwise[tensor]) if isinstance(n, Op) and n.name == "mul")
                return 2 if any(products) else 0
            case _:
                return 0


def _factors(expr: Expr) -> list[Expr]:
    """What a product is made of; a divisor counts as a factor."""
    match expr:
        case Op(name="mul" | "div" | "neg", args=args):
            return [factor for arg in args for factor in _factors(arg)]
        case _:
            return [expr]
