"""Where an expression exists, as an ordinary two-valued predicate.

The language's tensors are partial (design, "absent, not minus infinity"). A kernel's are not: it computes
every lane and needs to know which ones count. These functions turn the one into the other. In what they
return every operator is total; ``present:T`` is the presence of a reduced tensor T, where that cannot be said
in the indices of T alone (`attn_dsl.analysis.elimination`).
"""

from __future__ import annotations

from collections.abc import Mapping

from attn_dsl.analysis.elimination import some
from attn_dsl.analysis.integers import is_nonnegative
from attn_dsl.analysis.logic import PRESENT, TRUE, conjunction, conjuncts, disjunction, negation
from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Cascade, Einsum, Statement
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
from attn_dsl.ir.walk import children, index_names, substitute, walk, with_children

MAX_CONDITIONS = 64


def guard(statement: Statement, cascade: Cascade) -> Expr:
    """Where the elements of a statement exist."""
    return _Known.of(cascade).guard(statement)


class _Known:
    """The guards of a cascade's statements, each made once and shared by all that read its target.

    They are made in the order of the statements: what a statement reads stands above it, so that a long chain
    of statements is a loop.
    """

    def __init__(self, cascade: Cascade) -> None:
        self._cascade = cascade
        self._guards: dict[int, Expr] = {}
        self._some: dict[int, Expr | None] = {}
        self._collected: dict[Expr, Expr] = {}
        self._waiting = iter(cascade.statements)

    @classmethod
    def of(cls, cascade: Cascade) -> _Known:
        """The guards of this very cascade."""
        if "presence" not in cascade.known:
            cascade.known["presence"] = cls(cascade)
        return cascade.known["presence"]

    def guard(self, statement: Statement) -> Expr:
        """Where the elements of a statement exist; of one that the cascade has not, as if it stood at its
        end."""
        found = self._guards.get(id(statement))
        while found is None and (earlier := next(self._waiting, None)) is not None:
            self._guards[id(earlier)] = _guard(earlier, self._cascade)
            found = self._guards.get(id(statement))
        return _guard(statement, self._cascade) if found is None else found

    def some(self, part: Einsum) -> Expr | None:
        """Where a contribution has an element along the indices it reduces; None where algebra does not
        tell."""
        if id(part) not in self._some:
            self._some[id(part)] = some(self.guard(part), part.over, self._cascade)
        return self._some[id(part)]

    def collected(self, exists: Expr, own: Mapping[str, Expr]) -> Expr:
        """A condition with its sums of indices collected, as ``substitute`` gives it at the indices
        themselves."""
        if exists not in self._collected:
            self._collected[exists] = substitute(exists, own)
        return self._collected[exists]


def _guard(statement: Statement, cascade: Cascade) -> Expr:
    where = TRUE if statement.where is None else truth(statement.where, cascade)
    names = dict.fromkeys((*index_names(statement.body), *index_names(statement.where)))
    if isinstance(statement, Einsum):
        names |= dict.fromkeys(statement.over)
    found = conjunction(presence(statement.body, cascade), where, _limits(tuple(names), cascade))
    if len(conjuncts(found)) > MAX_CONDITIONS:
        raise NotLoweredError(
            Diagnostic(
                f"whether an element of '{statement.target}' exists hangs on more than {MAX_CONDITIONS} conditions",
                statement.span,
                "let fewer statements have a mask of their own, or give one of them an output and a file of its own",
            )
        )
    return found


def _limits(names: tuple[str, ...], cascade: Cascade) -> Expr:
    """``j < length[b]`` for every index with a data-dependent extent."""
    limits = [(n, cascade.index(n).limit) for n in names if cascade.declares(n)]
    return conjunction(*(Op("lt", (IndexVar(n), limit)) for n, limit in limits if limit is not None))


def presence(expr: Expr, cascade: Cascade) -> Expr:
    """Where an expression exists."""
    match expr:
        case Const() | ParamRef() | SizeOf() | IndexVar():
            return TRUE
        case Read():
            return _read_presence(expr, cascade)
        case Select(condition=c, then=a, otherwise=b):
            sides = presence(a, cascade), presence(b, cascade)
            if sides[0] == sides[1]:
                return conjunction(presence(c, cascade), sides[0])
            return disjunction(
                conjunction(truth(c, cascade), sides[0]), conjunction(falsity(c, cascade), sides[1])
            )
        case Default(value=value, fallback=fallback):
            return disjunction(presence(value, cascade), presence(fallback, cascade))
        case Op(name="present"):
            return TRUE
        case Op(name="and" | "or"):
            if all(presence(a, cascade) == TRUE for a in expr.args):
                return TRUE
            return disjunction(truth(expr, cascade), falsity(expr, cascade))
        case Op() | Cast() | Detach() | Member():
            return conjunction(*(presence(c, cascade) for c in children(expr)))


def truth(predicate: Expr, cascade: Cascade) -> Expr:
    """Where a predicate exists and holds."""
    match predicate:
        case Op(name="and", args=args):
            return conjunction(*(truth(a, cascade) for a in args))
        case Op(name="or", args=args):
            return disjunction(*(truth(a, cascade) for a in args))
        case Op(name="not", args=(inner,)):
            return falsity(inner, cascade)
        case Op(name="present", args=(inner,)):
            return presence(inner, cascade)
        case _:
            return conjunction(presence(predicate, cascade), total_body(predicate, cascade))


def falsity(predicate: Expr, cascade: Cascade) -> Expr:
    """Where a predicate exists and does not hold."""
    match predicate:
        case Op(name="and", args=args):
            return disjunction(*(falsity(a, cascade) for a in args))
        case Op(name="or", args=args):
            return conjunction(*(falsity(a, cascade) for a in args))
        case Op(name="not", args=(inner,)):
            return truth(inner, cascade)
        case Op(name="present", args=(inner,)):
            return negation(presence(inner, cascade))
        case _:
            return conjunction(presence(predicate, cascade), negation(total_body(predicate, cascade)))


def total_body(expr: Expr, cascade: Cascade) -> Expr:
    """The value with every ``default`` as a choice by presence, and logic in its two-valued form."""
    match expr:
        case Default(value=value, fallback=fallback):
            exists = presence(value, cascade)
            inner = total_body(value, cascade)
            return inner if exists == TRUE else Select(exists, inner, total_body(fallback, cascade))
        case Op(name="present"):
            return truth(expr, cascade)
        case Op(name="and" | "or" | "not") if presence(expr, cascade) != TRUE or _asks_presence(expr):
            return truth(expr, cascade)
        case Select(condition=c, then=a, otherwise=b):
            return Select(truth(c, cascade), total_body(a, cascade), total_body(b, cascade))
        case _:
            parts = children(expr)
            return with_children(expr, tuple(total_body(p, cascade) for p in parts)) if parts else expr


def _asks_presence(expr: Expr) -> bool:
    return any(isinstance(node, Op) and node.name == "present" for node in walk(expr))


def _read_presence(read: Read, cascade: Cascade) -> Expr:
    if read.tensor.startswith(PRESENT):
        return TRUE
    declared = cascade.input(read.tensor)
    if declared is not None:
        return _in_bounds(read, declared.dims, cascade)
    parts = cascade.definitions(read.tensor)
    placed = _in_bounds(read, parts[0].dims, cascade)
    if not isinstance(parts[0], Einsum):
        return placed
    if parts[0].reduce is None:
        return conjunction(placed, _placed(parts[0], read, cascade))
    some = [_reduced_presence(p, read, cascade) for p in parts if isinstance(p, Einsum)]
    known = [s for s in some if s is not None]
    if len(known) == len(some):
        return conjunction(placed, disjunction(*known))
    return placed if TRUE in known else conjunction(placed, Read(PRESENT + read.tensor, read.indices))


def _placed(part: Statement, read: Read, cascade: Cascade) -> Expr:
    return _at(guard(part, cascade), part.dims, read, cascade)


def _at(exists: Expr, dims: tuple[str, ...], read: Read, cascade: Cascade) -> Expr:
    """The condition at the slots of a read; at a tensor's own indices it is the same for all who read it."""
    values = dict(zip(dims, read.indices, strict=True))
    own = all(slot == IndexVar(d) for d, slot in values.items())
    return _Known.of(cascade).collected(exists, values) if own else substitute(exists, values)


def _reduced_presence(part: Einsum, read: Read, cascade: Cascade) -> Expr | None:
    """Where a contribution has an element, if that can be said without looking for one."""
    exists = _Known.of(cascade).some(part)
    return None if exists is None else _at(exists, part.dims, read, cascade)


def _in_bounds(read: Read, dims: tuple[str, ...], cascade: Cascade) -> Expr:
    parts: list[Expr] = []
    for slot, dim in zip(read.indices, dims, strict=True):
        if slot == IndexVar(dim):
            continue
        parts.append(presence(slot, cascade))
        if not is_nonnegative(slot, {}):
            parts.append(Op("le", (Const(0), slot)))
        if not _below(slot, dim, cascade):
            parts.append(Op("lt", (slot, SizeOf(dim))))
    return conjunction(*parts)


def _below(slot: Expr, dim: str, cascade: Cascade) -> bool:
    """Whether a position is provably less than the extent of a dimension."""
    size = cascade.index(dim).size if cascade.declares(dim) else None
    match slot:
        case Op(name="mod", args=(_, SizeOf(index=name))):
            return name == dim
        case Op(name="mod", args=(_, Const(value=divisor))):
            return isinstance(size, Const) and divisor <= size.value
        case Const(value=value):
            return isinstance(size, Const) and value < size.value
        case _:
            return False
