"""One element of a total expression, by plain Python arithmetic: an oracle that shares nothing with the
compiler."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from attn_dsl.ir.expr import Const, Expr, IndexVar, Op, ParamRef, Read, Select, SizeOf

Number = int | float | bool


def _clamp(x: Number, low: Number, high: Number) -> Number:
    return min(max(x, low), high)


_OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "floordiv": operator.floordiv,
    "mod": operator.mod, "neg": operator.neg, "div": operator.truediv, "lt": operator.lt, "le": operator.le,
    "gt": operator.gt, "ge": operator.ge, "eq": operator.eq, "ne": operator.ne, "not": operator.not_,
    "bitand": operator.and_, "bitor": operator.or_, "bitxor": operator.xor, "shr": operator.rshift,
    "abs": abs, "min": min, "max": max, "clamp": _clamp,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    """What an expression may refer to, but for its indices."""

    params: Mapping[str, Number]
    sizes: Mapping[str, int]
    tensors: Mapping[str, Tensor]

    def element(self, expr: Expr, at: Mapping[str, int]) -> Any:
        """The value where the indices stand ``at`` these places; only the sides that are needed are looked
        at."""
        match expr:
            case Const(value=value):
                return value
            case ParamRef(name=name):
                return self.params[name]
            case SizeOf(index=name):
                return self.sizes[name]
            case IndexVar(name=name):
                return at[name]
            case Read(tensor=tensor, indices=slots):
                return self._read(tensor, tuple(self.element(s, at) for s in slots))
            case Select(condition=c, then=a, otherwise=b):
                return self.element(a if self.element(c, at) else b, at)
            case Op(name="and", args=args):
                return all(self.element(a, at) for a in args)
            case Op(name="or", args=args):
                return any(self.element(a, at) for a in args)
            case Op(name=name, args=args):
                return _OPERATORS[name](*(self.element(a, at) for a in args))
            case _:
                raise AssertionError(f"not a total expression of this oracle: {expr}")

    def _read(self, tensor: str, place: tuple[int, ...]) -> Any:
        data = self.tensors[tensor]
        assert all(0 <= p < n for p, n in zip(place, data.shape, strict=True)), (
            f"{tensor}{place} is unguarded"
        )
        return data[place].item()
