"""The adjoint of one expression: what every read of it is to receive of the adjoint of its value.

    z = a * b,  the adjoint of z being s:      a receives s * b,   b receives s * a

An element that does not exist receives and sends nothing. So a read is only given its share where all the
others that the value needs exist; the share usually reads them, and is absent with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from attn_dsl.differentiation.derivatives import slopes
from attn_dsl.ir.dtypes import Kind, dtype_kind
from attn_dsl.ir.expr import Cast, Const, Default, Detach, Expr, Op, Read, Select
from attn_dsl.ir.slopes import ZERO, mul, neg
from attn_dsl.ir.walk import children


@dataclass(frozen=True, slots=True)
class Share:
    """What the tensor behind a read receives at the place read."""

    read: Read
    amount: Expr


@dataclass(frozen=True, slots=True)
class Adjoint:
    """``takes_part``: whether a tensor's adjoint is wanted; ``always``: whether a read exists wherever it is
    made."""

    takes_part: Callable[[str], bool]
    always: Callable[[Read], bool]

    def shares(self, expr: Expr, seed: Expr, value: Expr | None = None) -> list[Share]:
        """The shares of every read that takes part. ``value``: how the expression's own value is best
        written."""
        needed = [r for r in dict.fromkeys(_strict_reads(expr)) if not self.always(r)]
        found: list[Share] = []
        for share in self._through(expr, seed, expr if value is None else value):
            met = set(_strict_reads(share.amount)) | {share.read}
            whole = value in met  # where the value is read, all that it needs exists
            missing = [] if whole else [Op("present", (r,)) for r in needed if r not in met]
            amount = share.amount
            for condition in missing:
                amount = Select(condition, amount, ZERO)
            found.append(Share(share.read, amount))
        return found

    def _through(self, expr: Expr, seed: Expr, value: Expr) -> Iterator[Share]:
        match expr:
            case Read(tensor=tensor):
                if self.takes_part(tensor):
                    yield Share(expr, seed)
            case Op(args=args):
                if not any(self._is_reached(a) for a in args):
                    return
                for argument, slope in zip(args, slopes(expr, value), strict=True):
                    if slope is not None and slope != ZERO and self._is_reached(argument):
                        yield from self._through(argument, scaled(seed, slope), argument)
            case Select(condition=c, then=a, otherwise=b):
                yield from (Share(s.read, Select(c, s.amount, ZERO)) for s in self.shares(a, seed))
                yield from (Share(s.read, Select(c, ZERO, s.amount)) for s in self.shares(b, seed))
            case Default(value=a, fallback=b):
                yield from self.shares(a, seed)
                exists = Op("present", (a,))
                yield from (Share(s.read, Select(exists, ZERO, s.amount)) for s in self.shares(b, seed))
            case Cast(dtype=dtype, value=inner) if dtype_kind(dtype) is Kind.REAL:
                yield from self._through(inner, seed, inner)
            case _:
                return

    def _is_reached(self, expr: Expr) -> bool:
        """Whether any read of the expression may receive something."""
        match expr:
            case Detach():
                return False
            case Cast(dtype=dtype) if dtype_kind(dtype) is not Kind.REAL:
                return False
            case Read(tensor=tensor):
                return self.takes_part(tensor)
            case _:
                return any(self._is_reached(c) for c in children(expr))


def scaled(seed: Expr, slope: Expr) -> Expr:
    """``seed * slope``."""
    match slope:
        case Const(value=-1.0):
            return neg(seed)
        case Op(name="div", args=(Const(value=1.0), divisor)):
            return Op("div", (seed, divisor))
        case _:
            return mul(seed, slope)


def _strict_reads(expr: Expr) -> Iterator[Read]:
    """The reads without which the expression has no value."""
    match expr:
        case Read():
            yield expr
        case Default():
            return
        case Op(name="present" | "and" | "or"):
            return
        case Select(condition=c):
            yield from _strict_reads(c)
        case _:
            for child in children(expr):
                yield from _strict_reads(child)
