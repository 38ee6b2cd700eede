"""Name what is computed twice, once.

Two statements with equal right-hand sides become one, and a costly subexpression that two statements
share becomes a statement of its own. It gets no guard: it exists where its operands do, and the
statements that read it keep theirs.

    w[i,j] = exp(x[i,j])                          E[i,j] = exp(x[i,j])
    y[i] += exp(x[i,j]) * v[j]            ->      w[i,j] = E[i,j];  y[i] += E[i,j] * v[j]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from attn_dsl.ir.cascade import Cascade, Einsum, Statement
from attn_dsl.ir.expr import Expr, IndexVar, Member, Op, Read
from attn_dsl.ir.operators import OPERATORS, Cost
from attn_dsl.ir.walk import children, index_names, transform, walk
from attn_dsl.rewrites.algebra import is_scalar
from attn_dsl.rewrites.definitions import (
    Definitions,
    fresh_name,
    map_expressions,
    whole_read,
)

_COSTLY = frozenset(o.name for o in OPERATORS.values() if o.cost is Cost.CALL)


def common_subexpressions(cascade: Cascade) -> Cascade:
    """Merge equal statements, then share costly subexpressions, until nothing is left to share."""
    cascade = _merge_statements(cascade)
    parts = _CostlyParts()
    while (shared := _shared_subexpression(cascade, parts)) is not None:
        cascade = _name_subexpression(cascade, shared, parts)
    return cascade


class _CostlyParts:
    """The costly subexpressions of statements, found once for each: naming one changes the few that have
    it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Statement, tuple[Expr, ...], frozenset[Expr]]] = {}
        self._sizes: dict[Expr, int] = {}

    def of(self, statement: Statement) -> tuple[Expr, ...]:
        """Those of its body, outermost first, each once."""
        return self._found(statement)[1]

    def has(self, statement: Statement, expr: Expr) -> bool:
        """Whether the expression stands anywhere in the body, places of reads included."""
        return expr in self._found(statement)[2]

    def size(self, expr: Expr) -> int:
        """How many terms it has."""
        if expr not in self._sizes:
            self._sizes[expr] = sum(1 for _ in walk(expr))
        return self._sizes[expr]

    def _found(self, statement: Statement) -> tuple[Statement, tuple[Expr, ...], frozenset[Expr]]:
        if id(statement) not in self._known:  # the statement is held, so that its id stays its own
            every = frozenset(n for n in walk(statement.body) if isinstance(n, Op) and n.name in _COSTLY)
            parts = tuple(dict.fromkeys(_costly_parts(statement))) if every else ()
            self._known[id(statement)] = (statement, parts, every)
        return self._known[id(statement)]


def _merge_statements(cascade: Cascade) -> Cascade:
    definitions = Definitions(cascade)
    outputs = {o.name for o in cascade.outputs}
    first: dict[Statement, str] = {}
    same: dict[str, str] = {}
    statements: list[Statement] = []
    for original in cascade.statements:
        statement = map_expressions(original, lambda e: _renamed(e, same))
        if len(definitions.of(statement.target)) == 1:
            key = replace(statement, target="")
            twin = first.setdefault(key, statement.target)
            if twin != statement.target and statement.target not in outputs:
                same[statement.target] = twin
                continue
        statements.append(statement)
    return replace(cascade, statements=tuple(statements)) if same else cascade


def _renamed(expr: Expr, names: dict[str, str]) -> Expr:
    def rule(node: Expr) -> Expr:
        if isinstance(node, (Read, Member)) and node.tensor in names:
            return replace(node, tensor=names[node.tensor])
        return node

    return transform(expr, rule) if names else expr


def _costly_parts(statement: Statement) -> Iterator[Expr]:
    """The costly subexpressions of a body, outermost first. Guards stay as written: plans are made from
    them."""
    stack = [statement.body]
    while stack:
        node = stack.pop()
        if isinstance(node, Op) and node.name in _COSTLY and not is_scalar(node):
            yield node
        if not isinstance(node, (Read, Member)):
            stack.extend(children(node))


def _shared_subexpression(cascade: Cascade, parts: _CostlyParts) -> Expr | None:
    """The largest costly subexpression that two statements evaluate."""
    users: dict[Expr, int] = {}
    for statement in cascade.statements:
        for part in parts.of(statement):
            users[part] = users.get(part, 0) + 1
    return max((e for e, count in users.items() if count > 1), key=parts.size, default=None)


def _name_subexpression(cascade: Cascade, shared: Expr, parts: _CostlyParts) -> Cascade:
    owner, position = _owner(cascade, shared, parts)
    if owner is None:
        first = cascade.statements[position]
        operation = shared.name if isinstance(shared, Op) else "shared"
        dims = _in_order_of(first, index_names(shared))
        keys = tuple(IndexVar(d) for d in dims)
        target = fresh_name(cascade, f"{first.target}_{operation}")
        owner = Einsum(target, dims, keys, None, (), shared, None, first.span)
        statements = (*cascade.statements[:position], owner, *cascade.statements[position:])
        cascade = replace(cascade, statements=statements)
    read = whole_read(owner.target, owner.dims)

    def rule(node: Expr) -> Expr:
        return read if node == shared else node

    return replace(
        cascade,
        statements=tuple(
            s if s is owner or not parts.has(s, shared) else replace(s, body=transform(s.body, rule))
            for s in cascade.statements
        ),
    )


def _owner(cascade: Cascade, shared: Expr, parts: _CostlyParts) -> tuple[Einsum | None, int]:
    """The unguarded statement that is the subexpression, where it comes first; else where it is needed
    first."""
    for position, statement in enumerate(cascade.statements):
        if shared in parts.of(statement):
            match statement:
                case Einsum(reduce=None, where=None) if _is_just(statement, shared):
                    return statement, position
                case _:
                    return None, position
    raise ValueError("no statement evaluates the expression")


def _is_just(statement: Einsum, shared: Expr) -> bool:
    """Whether the target is the subexpression under another name, over no more indices than it has."""
    return statement.body == shared and set(statement.dims) == set(index_names(shared))


def _in_order_of(statement: Statement, indices: tuple[str, ...]) -> tuple[str, ...]:
    """Indices as the statement lists them, its own before the reduced."""
    over = statement.over if isinstance(statement, Einsum) else (statement.over,)
    return tuple(i for i in dict.fromkeys((*statement.dims, *over)) if i in indices)
