"""Proofs that a value is positive, from the expression alone: no data and no params are looked at."""

from __future__ import annotations

from collections.abc import Callable

from attn_dsl.ir.cascade import Einsum
from attn_dsl.ir.dtypes import Kind, dtype_kind
from attn_dsl.ir.expr import Cast, Const, Default, Detach, Expr, Op, Read, Select, SizeOf
from attn_dsl.ir.in_order import InOrder
from attn_dsl.ir.operators import OPERATORS, Positive
from attn_dsl.rewrites.definitions import Definitions


def is_positive(expr: Expr, definitions: Definitions) -> bool:
    """Whether the value, where it exists, is certainly greater than 0 (the extent of an index counts as
    positive: over an empty index there is no element to ask about)."""

    def positive(part: Expr) -> bool:
        return is_positive(part, definitions)

    match expr:
        case Const(value=value):
            return value > 0
        case SizeOf():
            return True
        case Op(name=name, args=args):
            return _operator(OPERATORS[name].positive, args, positive)
        case Select(then=a, otherwise=b) | Default(value=a, fallback=b):
            return positive(a) and positive(b)
        case Detach(value=value):
            return positive(value)
        case Cast(dtype=dtype, value=value):
            return dtype_kind(dtype) is not Kind.INTEGER and positive(value)
        case Read(tensor=tensor):
            return bool(definitions.of(tensor)) and _tensors(definitions)[tensor]
        case _:
            return False


def _operator(rule: Positive, args: tuple[Expr, ...], positive: Callable[[Expr], bool]) -> bool:
    match rule:
        case Positive.ALWAYS:
            return True
        case Positive.ALL:
            return all(map(positive, args))
        case Positive.ANY:
            return any(map(positive, args))
        case Positive.FIRST:
            return positive(args[0])
        case Positive.UNKNOWN:
            return False


def _tensors(definitions: Definitions) -> InOrder[bool]:
    """Which computed tensors are positive."""

    def positive(tensor: str) -> bool:
        return all(_keeps_sign(s) and is_positive(s.body, definitions) for s in definitions.of(tensor))

    known = definitions.cascade.known
    if "positive" not in known:
        known["positive"] = InOrder(definitions.cascade, positive)
    return known["positive"]


def _keeps_sign(statement: object) -> bool:
    return isinstance(statement, Einsum) and (
        statement.reduce is None or statement.reduce.rule.keeps_positive
    )
