"""Looking up and naming tensors while a cascade is rewritten."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeAlias

from attn_dsl.ir.cascade import Cascade, Einsum, Ranking, Statement
from attn_dsl.ir.expr import Expr, IndexVar, Read
from attn_dsl.ir.walk import tensors_read, transform

Replacements: TypeAlias = tuple[tuple[Statement, ...], ...]
"""For each statement of a tensor, what stands in its place."""


class Definitions:
    """The statements of a cascade by the tensor they define."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self._table: dict[str, tuple[Statement, ...]] = {}
        for statement in cascade.statements:
            self._table[statement.target] = (*self._table.get(statement.target, ()), statement)

    def of(self, tensor: str) -> tuple[Statement, ...]:
        """The statements that define a tensor; empty for an input, and for one whose values are given."""
        return () if tensor in self.cascade.saved else self.meaning(tensor)

    def meaning(self, tensor: str) -> tuple[Statement, ...]:
        """The statements that say what a tensor is, given or not; empty for an input."""
        return self._table.get(tensor, ())

    def replaced(self, rule: Callable[[tuple[Statement, ...]], Replacements]) -> Cascade:
        """The cascade with the statements of every tensor, taken together, replaced each in its place."""
        new = {
            target: iter(unchanged(group) if target in self.cascade.saved else rule(group))
            for target, group in self._table.items()
        }
        statements = tuple(n for s in self.cascade.statements for n in next(new[s.target]))
        return replace(self.cascade, statements=statements)

    def pointwise(self, expr: Expr) -> Einsum | None:
        """The pointwise statement behind a read of its target at the target's own indices, where the body
        may stand in place of the read (under the statement's guard)."""
        if not isinstance(expr, Read):
            return None
        statement = pointwise_definition(self.of(expr.tensor))
        return statement if statement is not None and reads_plainly(expr, statement.dims) else None

    def revealed(self, expr: Expr) -> tuple[Expr, tuple[Expr, ...]]:
        """The body behind a pointwise tensor, and the guards on the way to it."""
        guards: tuple[Expr, ...] = ()
        while (statement := self.pointwise(expr)) is not None:
            guards += () if statement.where is None else (statement.where,)
            expr = statement.body
        return expr, guards

    def spelt_out(self, expr: Expr, most: int) -> Expr | None:
        """The expression with the bodies of pointwise tensors in place of their reads; None where it has more
        than ``most`` nodes."""
        left = most

        def rule(node: Expr) -> Expr:
            nonlocal left
            left -= 1
            statement = self.pointwise(node) if left > 0 else None
            return node if statement is None else transform(statement.body, rule)

        spelt = transform(expr, rule)
        return spelt if left > 0 else None

    def dims(self, tensor: str) -> tuple[str, ...]:
        """The index of each slot of a tensor."""
        declared = self.cascade.input(tensor)
        return declared.dims if declared is not None else self._table[tensor][0].dims


def unchanged(group: tuple[Statement, ...]) -> Replacements:
    """Every statement in its own place."""
    return tuple((s,) for s in group)


def pointwise_definition(parts: tuple[Statement, ...]) -> Einsum | None:
    """The only statement of a tensor that is defined element by element, or None."""
    match parts:
        case (Einsum(reduce=None) as statement,) if not statement.is_keyed:
            return statement
        case _:
            return None


def reads_plainly(read: Read, dims: tuple[str, ...]) -> bool:
    """Whether a tensor is read at exactly its own indices, and so within its bounds."""
    return read.indices == tuple(IndexVar(d) for d in dims)


def whole_read(target: str, dims: tuple[str, ...]) -> Read:
    """The tensor at its own indices."""
    return Read(target, tuple(IndexVar(d) for d in dims))


def expressions(statement: Statement) -> tuple[Expr, ...]:
    """Everything a statement evaluates: body, guard, the keys of a keyed reduction, a ranking's count."""
    match statement:
        case Einsum(body=body, where=where, keys=keys):
            parts = (body, where, *(keys if statement.is_keyed else ()))
        case Ranking(body=body, where=where, count=count):
            parts = (body, where, count)
    return tuple(part for part in parts if part is not None)


def map_expressions(statement: Statement, rule: Callable[[Expr], Expr]) -> Statement:
    """The statement with every expression it evaluates replaced."""
    where = None if statement.where is None else rule(statement.where)
    match statement:
        case Einsum(body=body, keys=keys):
            new_keys = tuple(rule(k) for k in keys) if statement.is_keyed else keys
            return replace(statement, body=rule(body), where=where, keys=new_keys)
        case Ranking(body=body, count=count):
            return replace(
                statement, body=rule(body), where=where, count=None if count is None else rule(count)
            )


def statement_reads(statement: Statement) -> frozenset[str]:
    """The tensors a statement reads."""
    return frozenset(t for e in expressions(statement) for t in tensors_read(e))


def fresh_name(cascade: Cascade, wanted: str, taken: Iterable[str] = ()) -> str:
    """A name for a new tensor: the wanted one, numbered where it is in use."""
    used = {*taken, *(s.target for s in cascade.statements)}
    for declared in (cascade.inputs, cascade.params, cascade.indices, cascade.masks):
        used |= {d.name for d in declared}
    name, count = wanted, 1
    while name in used:
        count += 1
        name = f"{wanted}_{count}"
    return name
