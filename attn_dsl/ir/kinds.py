"""The kinds of expressions and of computed tensors: boolean, integer or real."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attn_dsl.ir.cascade import Cascade, Einsum, RankingKind, Reduction, Statement
from attn_dsl.ir.dtypes import Kind, dtype_kind
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
from attn_dsl.ir.operators import OPERATORS

_WORDS = {"bool": Kind.BOOLEAN, "int": Kind.INTEGER, "float": Kind.REAL}


def kind_of(expr: Expr, tensor: Callable[[str], Kind], params: Mapping[str, str]) -> Kind:
    """The kind of an expression; ``tensor`` gives that of a tensor, ``params`` the type of each: int, float,
    bool."""

    def of(inner: Expr) -> Kind:
        return kind_of(inner, tensor, params)

    match expr:
        case Const(value=value):
            return _WORDS[type(value).__name__]
        case ParamRef(name=name):
            return _WORDS[params[name]]
        case SizeOf() | IndexVar():
            return Kind.INTEGER
        case Read(tensor=name):
            return tensor(name)
        case Member():
            return Kind.BOOLEAN
        case Cast(dtype=dtype):
            return dtype_kind(dtype)
        case Detach(value=value):
            return of(value)
        case Select(then=a, otherwise=b) | Default(value=a, fallback=b):
            return max(of(a), of(b))
        case Op(name=name, args=args):
            return OPERATORS[name].kind(map(of, args))


def reduced_kind(reduce: Reduction | None, body: Kind) -> Kind:
    """The kind of a reduction of such elements."""
    if reduce is None:
        return body
    return max(Kind.INTEGER, body) if reduce.rule.result is None else reduce.rule.result


def statement_kind(statement: Statement, of: Callable[[Expr], Kind]) -> Kind:
    """The kind of what a statement gives."""
    if isinstance(statement, Einsum):
        return reduced_kind(statement.reduce, of(statement.body))
    chosen = statement.kind in (RankingKind.TOPK, RankingKind.TOPP)
    return Kind.BOOLEAN if chosen else Kind.INTEGER


class Kinds:
    """The kinds of the expressions and tensors of one cascade. ``dtypes``: of inputs that declare none, or
    others."""

    def __init__(self, cascade: Cascade, dtypes: Mapping[str, str] | None = None) -> None:
        given = {} if dtypes is None else dtypes
        self._inputs = {i.name: dtype_kind(given.get(i.name, i.dtype)) for i in cascade.inputs}
        self._params = {p.name: p.kind for p in cascade.params}
        self._cascade = cascade
        self._computed = InOrder(cascade, self._defined)

    def of(self, expr: Expr) -> Kind:
        """The kind of an expression."""
        return kind_of(expr, self.tensor, self._params)

    def tensor(self, name: str) -> Kind:
        """The kind of a tensor's elements."""
        if name.startswith("present:"):
            return Kind.BOOLEAN
        declared = self._inputs.get(name)
        return self._computed[name] if declared is None else declared

    def _defined(self, tensor: str) -> Kind:
        return max(statement_kind(s, self.of) for s in self._cascade.definitions(tensor))
