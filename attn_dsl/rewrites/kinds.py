"""Whether a value is a truth value, an integer or a real, where a rewrite must know to be exact."""

from __future__ import annotations

from enum import IntEnum

from attn_dsl.ir.cascade import Cascade, Einsum, RankingKind, Reduction, Statement
from attn_dsl.ir.expr import (
    Cast,
    Const,
    Default,
    Detach,
    Expr,
    IndexVar,
    Member,
    Op,
    ParamRef,
    Read,
    Select,
    SizeOf,
)
from attn_dsl.ir.in_order import InOrder
from attn_dsl.ir.operators import OPERATORS, ResultKind
from attn_dsl.rewrites.definitions import Definitions


class Kind(IntEnum):
    """Ordered so that the kind of a mixture is the greatest."""

    BOOLEAN = 0
    INTEGER = 1
    REAL = 2


_WORDS = {"bool": Kind.BOOLEAN, "int": Kind.INTEGER, "float": Kind.REAL}


def _of_dtype(dtype: str | None) -> Kind:
    if dtype == "bool":
        return Kind.BOOLEAN
    return Kind.INTEGER if dtype is not None and dtype[0] in "iu" else Kind.REAL


class Kinds:
    """The kinds of the expressions of one cascade."""

    def __init__(self, cascade: Cascade) -> None:
        self._definitions = Definitions(cascade)
        self._computed = InOrder(cascade, self._defined)
        self._inputs = {i.name: _of_dtype(i.dtype) for i in cascade.inputs}
        self._params = {p.name: _WORDS[p.kind] for p in cascade.params}

    def of(self, expr: Expr) -> Kind:
        """The kind of an expression."""
        match expr:
            case Const(value=value):
                return _WORDS[type(value).__name__]
            case ParamRef(name=name):
                return self._params[name]
            case SizeOf() | IndexVar():
                return Kind.INTEGER
            case Read(tensor=tensor):
                return self._tensor(tensor)
            case Op():
                return self._operator(expr)
            case Select(then=a, otherwise=b) | Default(value=a, fallback=b):
                return max(self.of(a), self.of(b))
            case Member():
                return Kind.BOOLEAN
            case Cast(dtype=dtype):
                return _of_dtype(dtype)
            case Detach(value=value):
                return self.of(value)

    def _operator(self, expr: Op) -> Kind:
        match OPERATORS[expr.name].result:
            case ResultKind.BOOLEAN:
                return Kind.BOOLEAN
            case ResultKind.INTEGER:
                return Kind.INTEGER
            case ResultKind.REAL:
                return Kind.REAL
            case ResultKind.NUMBER:
                return max(Kind.INTEGER, *(self.of(a) for a in expr.args))

    def _tensor(self, tensor: str) -> Kind:
        declared = self._inputs.get(tensor)
        return self._computed[tensor] if declared is None else declared

    def _defined(self, tensor: str) -> Kind:
        return max(self._statement(s) for s in self._definitions.meaning(tensor))

    def _statement(self, statement: Statement) -> Kind:
        if not isinstance(statement, Einsum):
            chosen = statement.kind in (RankingKind.TOPK, RankingKind.TOPP)
            return Kind.BOOLEAN if chosen else Kind.INTEGER
        match statement.reduce:
            case Reduction.ANY | Reduction.ALL:
                return Kind.BOOLEAN
            case Reduction.MEAN:
                return Kind.REAL
            case Reduction.SUM | Reduction.PRODUCT:
                return max(Kind.INTEGER, self.of(statement.body))
            case Reduction.MAX | Reduction.MIN | None:
                return self.of(statement.body)
