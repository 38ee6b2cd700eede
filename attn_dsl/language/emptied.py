"""Two more masks that seldom do what was meant.

P = softmax[j](X) where j <= i     hides elements of P; the sums over j have met them all the same
n[i] += x[t] where t < i           is empty at i = 0, hence absent: T[n[i]] has no place for the first element
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attn_dsl.errors import Diagnostic
from attn_dsl.ir.cascade import Cascade, Einsum, Statement
from attn_dsl.ir.expr import Const, Default, Expr, IndexVar, Member, Op, Read, SizeOf, Span
from attn_dsl.ir.index_sums import collected
from attn_dsl.ir.printer import print_expr
from attn_dsl.ir.walk import children, index_names, substitute, tensors_read, walk
from attn_dsl.language.losing import asked, needed

_STRICT = {"lt": 1, "le": 0}


def masked_too_late(cascade: Cascade) -> Iterator[Diagnostic]:
    """A ``where`` over an index that a function of the same statement has reduced without it."""
    table = {s.target: s for s in cascade.statements}
    guards = needed(cascade) if any(s.where is not None for s in cascade.statements) else {}
    for statement in cascade.statements:
        if not isinstance(statement, Einsum) or statement.where is None:
            continue
        inlined = [
            s for t in _called(statement, table) if isinstance(s := table[t], Einsum) and s.reduce is not None
        ]
        late = [
            p
            for p in asked(statement.where)
            if _is_plain(p, table) and any({*s.over} & {*index_names(p)} for s in inlined)
            and not any(p in guards[s.target].somewhere for s in inlined)
        ]  # fmt: skip
        if late:
            yield _late(statement, min(late, key=lambda p: len(print_expr(p))))


def _called(statement: Einsum, table: Mapping[str, Statement]) -> tuple[str, ...]:
    """The tensors that calls in this statement have made: read by it or by one of them."""
    found: dict[str, None] = {}
    pending = list(tensors_read(statement.body))
    while pending:
        name = pending.pop()
        if name not in found and name in table and _within(table[name].span, statement.span):
            found[name] = None
            pending += tensors_read(table[name].body)
    return tuple(found)


def _within(inner: Span | None, outer: Span | None) -> bool:
    if inner is None or outer is None or inner.file != outer.file:
        return False
    starts = (outer.line, outer.column) <= (inner.line, inner.column)
    return starts and (inner.end_line, inner.end_column) <= (outer.end_line, outer.end_column)


def _is_plain(predicate: Expr, table: Mapping[str, Statement]) -> bool:
    """Whether it is a mask, and not a choice among what was normalised, or at random (dropout)."""
    if isinstance(predicate, Op) and predicate.name == "and":
        return False
    random = any(isinstance(n, Op) and n.name == "uniform" for n in walk(predicate))
    return not random and not any(t in table for t in tensors_read(predicate))


def _late(statement: Einsum, predicate: Expr) -> Diagnostic:
    reduced = "its sums have met the elements that this hides"
    mask = print_expr(predicate)
    return Diagnostic(
        f"'where {mask}' comes after the function that reduces: {reduced}", statement.span,
        f"put it on the argument: X[...] = ... where {mask}, and call the function on X", severity="warning",
    )  # fmt: skip


def lost_places(cascade: Cascade) -> Iterator[Diagnostic]:
    """A sum that is empty at one end, as a place: what belongs there is lost."""
    empty: dict[str, str] = {}
    for statement in cascade.statements:
        for read in _places(statement):
            if read.tensor in empty:
                yield _lost(read, empty[read.tensor])
        if isinstance(statement, Einsum):
            where = _where_empty(statement, cascade)
            if not where and statement.reduce is None:
                where = next((empty[r.tensor] for r in _bare(statement.body) if r.tensor in empty), "")
            if where:
                empty[statement.target] = where


def _lost(read: Read, where: str) -> Diagnostic:
    text = print_expr(read)
    return Diagnostic(
        f"'{read.tensor}' is absent {where}, where its sum is empty: the element at that place is lost",
        read.span, f"write default({text}, 0)", severity="warning",
    )  # fmt: skip


def _places(statement: Statement) -> Iterator[Read]:
    """The tensors that give a place, but for those whose absence is provided for."""
    keys = statement.keys if isinstance(statement, Einsum) else ()
    for key in keys:
        yield from _bare(key)
    for node in walk(statement.body):
        if isinstance(node, Read):
            for slot in node.indices:
                yield from _bare(slot)


def _bare(expr: Expr) -> Iterator[Read]:
    pending = [expr]
    while pending:
        node = pending.pop()
        if isinstance(node, Read):
            yield node
        if not isinstance(node, (Default, Member)):
            pending += children(node)


def _where_empty(statement: Einsum, cascade: Cascade) -> str:
    """Where a plain sum certainly has no element, in words: its index would lie below 0 or past its end."""
    if statement.reduce is None or len(statement.over) != 1 or statement.where is None:
        return ""
    index = statement.over[0]
    for part in asked(statement.where):
        for low, high, strict in _bounds(part):
            if high == IndexVar(index) and (name := _only_index(low)) and _same_size(index, name, cascade):
                last = substitute(low, {name: Op("sub", (SizeOf(name), Const(1)))})
                if _at_least(last, Op("sub", (SizeOf(name), Const(strict)))):
                    return f"at the last {name}"
            if low == IndexVar(index) and (name := _only_index(high)):
                first = collected(substitute(high, {name: Const(0)}))
                if _at_least(Op("sub", (Const(strict), Const(1))), first):
                    return f"at {name} = 0"
    return ""


def _bounds(predicate: Expr) -> Iterator[tuple[Expr, Expr, int]]:
    """``low < high`` (1) or ``low <= high`` (0)."""
    match predicate:
        case Op(name="lt" | "le" as name, args=(a, b)):
            yield a, b, _STRICT[name]
        case Op(name="gt", args=(a, b)):
            yield b, a, 1
        case Op(name="ge", args=(a, b)):
            yield b, a, 0
        case _:
            pass


def _only_index(expr: Expr) -> str:
    names = index_names(expr)
    return names[0] if len(names) == 1 else ""


def _same_size(index: str, other: str, cascade: Cascade) -> bool:
    declared = {i.name: i for i in cascade.indices}
    return index in declared and other in declared and declared[index].size == SizeOf(other)


def _at_least(large: Expr, small: Expr) -> bool:
    """Whether the difference of two sums of indices is a literal, and not below 0."""
    match collected(Op("sub", (large, small))):
        case Const(value=value):
            return value >= 0
        case _:
            return False
