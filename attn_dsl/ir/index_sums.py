"""Sums of indices, sizes and whole numbers, in which opposite terms cancel: ``k - (n - i) - i + n`` is
``k``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from attn_dsl.ir.expr import Const, Expr, IndexVar, Op, SizeOf


def collected(expr: Expr) -> Expr:
    """The sum without opposite terms and with one literal; what is no such sum, or has none of these, as it
    is."""
    match expr:
        case Op(name="add" | "sub" | "neg"):
            parts = tuple(_terms(expr, 1))
        case _:
            return expr
    if any(term is None for term, _ in parts):
        return expr
    counts: Counter[Expr] = Counter()
    constant = 0
    for term, sign in parts:
        match term:
            case Const(value=int(value)):
                constant += sign * value
            case IndexVar() | SizeOf():
                counts[term] += sign
            case _:
                raise AssertionError(f"{term} is no term")
    new = [(term, 1 if n > 0 else -1) for term, n in counts.items() for _ in range(abs(n))]
    new += [(Const(abs(constant)), 1 if constant > 0 else -1)] if constant else []
    return expr if len(new) == len(parts) else _total(new)


def _terms(expr: Expr, sign: int) -> Iterator[tuple[Expr | None, int]]:
    """The terms and their signs; None for what may be no whole number."""
    match expr:
        case Op(name="add", args=(a, b)):
            yield from _terms(a, sign)
            yield from _terms(b, sign)
        case Op(name="sub", args=(a, b)):
            yield from _terms(a, sign)
            yield from _terms(b, -sign)
        case Op(name="neg", args=(a,)):
            yield from _terms(a, -sign)
        case IndexVar() | SizeOf():
            yield expr, sign
        case Const(value=int()) if not isinstance(expr.value, bool):
            yield expr, sign
        case _:
            yield None, sign


def _total(parts: list[tuple[Expr, int]]) -> Expr:
    """The sum, the first positive term in front."""
    if not parts:
        return Const(0)
    ordered = sorted(parts, key=lambda part: part[1] < 0)[:1]
    ordered += [p for at, p in enumerate(parts) if at != parts.index(ordered[0])]
    result = ordered[0][0] if ordered[0][1] > 0 else Op("neg", (ordered[0][0],))
    for term, sign in ordered[1:]:
        result = Op("add" if sign > 0 else "sub", (result, term))
    return result
