"""Traversals of expressions: children, rebuilding, substitution and the questions every stage asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

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
from attn_dsl.ir.index_sums import collected


def children(expr: Expr) -> tuple[Expr, ...]:
    """The direct subexpressions, in reading order."""
    match expr:
        case Const() | ParamRef() | SizeOf() | IndexVar():
            return ()
        case Read(indices=indices):
            return indices
        case Op(args=args):
            return args
        case Select(condition=c, then=t, otherwise=o):
            return (c, t, o)
        case Default(value=v, fallback=f):
            return (v, f)
        case Member(element=e, indices=indices):
            return (e, *(i for i in indices if i is not None))
        case Cast(value=v) | Detach(value=v):
            return (v,)


def with_children(expr: Expr, new: tuple[Expr, ...]) -> Expr:
    """The same node over other subexpressions (as many as ``children`` gives)."""
    match expr:
        case Const() | ParamRef() | SizeOf() | IndexVar():
            return expr
        case Read():
            return replace(expr, indices=new)
        case Op():
            return replace(expr, args=new)
        case Select():
            return replace(expr, condition=new[0], then=new[1], otherwise=new[2])
        case Default():
            return replace(expr, value=new[0], fallback=new[1])
        case Member(indices=indices):
            rest = iter(new[1:])
            return replace(
                expr, element=new[0], indices=tuple(None if i is None else next(rest) for i in indices)
            )
        case Cast() | Detach():
            return replace(expr, value=new[0])


def walk(expr: Expr) -> Iterator[Expr]:
    """Every node, the root first."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))


def transform(expr: Expr, rule: Callable[[Expr], Expr]) -> Expr:
    """Rebuild bottom-up, applying ``rule`` to every node after its children; shared where nothing changed.
    Chains (``a + b + c``, ``p and q and r``) lean to the left, and the left is a loop."""
    spine: list[tuple[Expr, tuple[Expr, ...]]] = []
    while below := children(expr):
        spine.append((expr, below))
        expr = below[0]
    new = rule(expr)
    while spine:
        node, below = spine.pop()
        parts = (new, *(transform(child, rule) for child in below[1:]))
        changed = any(a is not b for a, b in zip(below, parts, strict=True))
        new = rule(with_children(node, parts) if changed else node)
    return new


def substitute(expr: Expr, values: Mapping[str, Expr]) -> Expr:
    """Replace index variables by expressions; ``size(i)`` keeps its meaning. Sums of indices are
    collected."""

    def rule(node: Expr) -> Expr:
        return values.get(node.name, node) if isinstance(node, IndexVar) else collected(node)

    return transform(expr, rule) if values.keys() & index_names(expr) else expr


def index_names(expr: Expr | None) -> tuple[str, ...]:
    """The index variables an expression depends on, in order of appearance, each once."""
    if expr is None:
        return ()
    return tuple(dict.fromkeys(node.name for node in walk(expr) if isinstance(node, IndexVar)))


def tensors_read(expr: Expr | None) -> tuple[str, ...]:
    """The tensors an expression reads, in order of appearance, each once."""
    if expr is None:
        return ()
    return tuple(dict.fromkeys(n.tensor for n in walk(expr) if isinstance(n, (Read, Member))))
