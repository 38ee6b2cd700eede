"""Bind what a program is specialised on, so that the rewrites can fold it: params and whole sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from attn_dsl.analysis.logic import TRUE
from attn_dsl.analysis.presence import presence
from attn_dsl.ir.cascade import Cascade, Einsum, Index, Reduction, Statement
from attn_dsl.ir.expr import Const, Expr, IndexVar, Op, ParamRef, Read, SizeOf
from attn_dsl.ir.operators import COMPARISONS
from attn_dsl.ir.walk import children, transform
from attn_dsl.rewrites.definitions import fresh_name

_LINEAR = frozenset({"add", "sub", "neg", "min", "max", "clamp", "and", "or", "not", "abs"}) | COMPARISONS


def launch_params(cascade: Cascade) -> frozenset[str]:
    """Integer params that only bound ranges: their value is passed at launch and costs no compilation."""
    names = {p.name for p in cascade.params if p.kind == "int"}
    fixed: set[str] = set()
    for index in cascade.indices:
        for expr in (index.size, index.limit):
            fixed |= _params(expr) if expr is not None else set()
    for statement in cascade.statements:
        fixed |= _params(statement.body)
        if statement.where is not None:
            fixed |= _nonlinear(statement.where)
    return frozenset(names - fixed)


def _params(expr: Expr) -> set[str]:
    found = {expr.name} if isinstance(expr, ParamRef) else set[str]()
    return found.union(*(_params(c) for c in children(expr)))


def _nonlinear(expr: Expr) -> set[str]:
    match expr:
        case Op(name=name, args=args) if name in _LINEAR:
            return set[str]().union(*(_nonlinear(a) for a in args))
        case Op(name="floordiv", args=(a, b)):
            return _nonlinear(a) | _params(b)
        case ParamRef():
            return set()
        case _:
            return _params(expr)


def bind(cascade: Cascade, params: Mapping[str, int | float | bool], sizes: Mapping[str, int]) -> Cascade:
    """The cascade with params and sizes replaced by constants, wherever they are given."""

    def rule(node: Expr) -> Expr:
        if isinstance(node, ParamRef) and node.name in params:
            return Const(params[node.name], node.span)
        if isinstance(node, SizeOf) and node.index in sizes:
            return Const(sizes[node.index], node.span)
        return node

    def index(item: Index) -> Index:
        size = Const(sizes[item.name]) if item.name in sizes else item.size
        return replace(
            item,
            size=None if size is None else transform(size, rule),
            limit=None if item.limit is None else transform(item.limit, rule),
        )

    def statement(item: Statement) -> Statement:
        body = transform(item.body, rule)
        where = None if item.where is None else transform(item.where, rule)
        if isinstance(item, Einsum):
            return replace(item, body=body, where=where, keys=tuple(transform(k, rule) for k in item.keys))
        count = None if item.count is None else transform(item.count, rule)
        return replace(item, body=body, where=where, count=count)

    return replace(
        cascade,
        indices=tuple(map(index, cascade.indices)),
        statements=tuple(map(statement, cascade.statements)),
        sendings=tuple(replace(s, keys=tuple(transform(k, rule) for k in s.keys)) for s in cascade.sendings),
    )


def means_as_sums(cascade: Cascade) -> Cascade:
    """``T mean= x`` is a sum over a count: both stream, a mean does not."""
    statements: list[Statement] = []
    done: set[str] = set()
    names: set[str] = set()
    for item in cascade.statements:
        if not (isinstance(item, Einsum) and item.reduce is Reduction.MEAN):
            statements.append(item)
            continue
        if item.target in done:
            continue
        done.add(item.target)
        total = fresh_name(cascade, f"{item.target}_total", names)
        count = fresh_name(cascade, f"{item.target}_count", names)
        names |= {total, count}
        parts = [s for s in cascade.definitions(item.target) if isinstance(s, Einsum)]
        for part in parts:
            statements.append(replace(part, target=total, reduce=Reduction.SUM))
            where = part.where
            if presence(part.body, cascade) != TRUE:
                exists = Op("present", (part.body,))
                where = exists if where is None else Op("and", (where, exists))
            statements.append(replace(part, target=count, reduce=Reduction.SUM, body=Const(1.0), where=where))
        keys = tuple(IndexVar(d) for d in item.dims)
        body = Op("div", (Read(total, keys), Read(count, keys)))
        statements.append(Einsum(item.target, item.dims, keys, None, (), body, None, item.span))
    return replace(cascade, statements=tuple(statements))
