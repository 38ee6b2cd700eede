"""What a file says of positions: which keys a row may see, and from which end rows and keys are counted.

A model states its mask as a predicate over positions. A file that takes no mask has to keep it by itself, and
whether it does is read off its statements: the row sees key j if any reduction over j that belongs to the row
may meet it. What the text leaves to the data counts as seen, so that "sees no more than it may" is certain.

With a cache of earlier keys the rows at hand are the last ones, and row i stands at i + size(j) - size(i). A
file gives it the same result as in the whole sequence if i stands only in i - size(i), as in
``causal_at_end``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from attn_dsl.analysis.linear import linear_form
from attn_dsl.analysis.logic import TRUE
from attn_dsl.analysis.presence import guard
from attn_dsl.ir.cascade import Cascade, Einsum, Ranking, Statement
from attn_dsl.ir.expr import Const, Expr, IndexVar, Member, Op, ParamRef, Read, SizeOf, Span
from attn_dsl.ir.operators import COMPARISONS
from attn_dsl.ir.walk import children, transform, walk
from attn_dsl.reference.expressions import evaluate_expression
from attn_dsl.reference.partial import Partial, Scope

_ROWS, _UNKNOWN = "rows:", "unknown:"  # no names of a file
_ROWS_CHECKED = 256
_LINEAR = frozenset({"add", "sub", "neg", "mul"})


def checked_rows(count: int, device: torch.device | str = "cpu") -> Tensor:
    """256 rows, half from either end; all rows, some of them often, where there are fewer. One trace is right
    for any count but 1."""
    if count == 1:
        return torch.zeros(1, dtype=torch.int64, device=device)
    at = torch.arange(_ROWS_CHECKED, device=device)
    from_end = (at + (count - _ROWS_CHECKED)).clamp(min=0)
    return at.clamp(max=count - 1).where(at < _ROWS_CHECKED // 2, from_end)


def keys_seen(
    guards: tuple[Expr, ...], params: Mapping[str, int | float | bool], sizes: tuple[int, int], rows: Tensor
) -> Tensor:
    """For some rows of ``sizes`` (rows, keys), whether they may see each key: bool[rows, keys]. ``guards``:
    of `row_guards`; a param without a value is unknown."""
    cpu = torch.device("cpu")
    unknown = Partial(torch.tensor(0, device=cpu), torch.tensor(False, device=cpu))
    tensors = {_ROWS: Partial(rows), _UNKNOWN: unknown}
    extents = {"row": sizes[0], "key": sizes[1], "at": len(rows)}
    scope = Scope(params, extents, tensors, ("at", "key"), torch.float64, cpu)
    seen = torch.zeros(len(rows), sizes[1], dtype=torch.bool, device=cpu)
    for expr in guards:
        value = evaluate_expression(transform(expr, lambda node: _known(node, params)), scope)
        holds = value.value.to(torch.bool)
        seen = seen | (holds if value.present is None else holds | ~value.present)
    return seen


def _known(node: Expr, params: Mapping[str, object]) -> Expr:
    return Read(_UNKNOWN, ()) if isinstance(node, ParamRef) and node.name not in params else node


def row_guards(cascade: Cascade, row: str, key: str) -> tuple[Expr, ...]:
    """Where a row meets keys: a guard for each reduction over them, over the row ``rows[at]``, the index
    ``key`` and their sizes; all else is unknown."""
    guards: list[Expr] = []
    for statement in cascade.statements:
        if any(
            _elsewhere(read, key, cascade) or _elsewhere(read, row, cascade) for read in _reads(statement)
        ):
            return (TRUE,)
        over = (statement.over,) if isinstance(statement, Ranking) else statement.over
        if row in over or (key in over and row not in statement.dims):
            return (TRUE,)
        if key in over:
            guards.append(_of_positions(guard(statement, cascade), row, key))
    return tuple(dict.fromkeys(guards))


def _of_positions(expr: Expr, row: str, key: str) -> Expr:
    names = {row: "row", key: "key"}

    def rule(node: Expr) -> Expr:
        match node:
            case IndexVar(name=name):
                known = {row: Read(_ROWS, (IndexVar("at"),)), key: IndexVar("key")}
                return known.get(name, Read(_UNKNOWN, ()))
            case SizeOf(index=index):
                return SizeOf(names[index]) if index in names else Read(_UNKNOWN, ())
            case Read(tensor=tensor):
                return node if tensor == _ROWS else Read(_UNKNOWN, ())
            case Member():
                return Read(_UNKNOWN, ())
            case _:
                return node

    return transform(expr, rule)


def first_counted_from_start(cascade: Cascade, index: str) -> Span | None:
    """The first statement in which ``index`` stands otherwise than in ``index - size(index)``; None if there
    is none."""
    for statement in cascade.statements:
        if any(not _counted_from_end(e, index, cascade) for e in _expressions(statement)):
            return statement.span
    return None


def mentions(cascade: Cascade, index: str) -> bool:
    """Whether the value of an index, or its size, is anywhere used."""
    return any(_mentions(e, index, cascade) for s in cascade.statements for e in _expressions(s))


def _counted_from_end(expr: Expr, index: str, cascade: Cascade) -> bool:
    match expr:
        case Op(name=name, args=(a, b)) if name in COMPARISONS:
            return _counted_from_end(Op("sub", (a, b)), index, cascade)
        case Op(name=name) if name in _LINEAR and _whole(expr):
            terms = linear_form(expr)[0]
            if terms.pop(IndexVar(index), 0) + terms.pop(SizeOf(index), 0):
                return False
            rest = children(expr) if expr in terms else terms  # a product of two that vary is no linear form
            return all(_counted_from_end(t, index, cascade) for t in rest)
        case IndexVar(name=name) | SizeOf(index=name):
            return name != index
        case _:
            return all(_counted_from_end(c, index, cascade) for c in _values(expr, cascade))


def _whole(expr: Expr) -> bool:
    """Whether all numbers that a linear form would take for integers are."""
    return all(not isinstance(e.value, float) for e in walk(expr) if isinstance(e, Const))


def _mentions(expr: Expr, index: str, cascade: Cascade) -> bool:
    if isinstance(expr, IndexVar | SizeOf):
        return expr in (IndexVar(index), SizeOf(index))
    return any(_mentions(c, index, cascade) for c in _values(expr, cascade))


def _values(expr: Expr, cascade: Cascade) -> tuple[Expr, ...]:
    """What an expression computes with: a read at its tensor's own index takes the element, not the
    number."""
    if isinstance(expr, Read):
        return tuple(s for s, d in _slots(expr, cascade) if s != IndexVar(d))
    return children(expr)


def _elsewhere(read: Read, index: str, cascade: Cascade) -> bool:
    """Whether a tensor that has an index is read at another place of it."""
    return any(d == index and s != IndexVar(d) for s, d in _slots(read, cascade))


def _slots(read: Read, cascade: Cascade) -> tuple[tuple[Expr, str], ...]:
    declared = cascade.input(read.tensor)
    dims = cascade.definitions(read.tensor)[0].dims if declared is None else declared.dims
    return tuple(zip(read.indices, dims, strict=True))


def _reads(statement: Statement) -> Iterator[Read]:
    return (node for e in _expressions(statement) for node in walk(e) if isinstance(node, Read))


def _expressions(statement: Statement) -> Iterator[Expr]:
    yield statement.body
    if statement.where is not None:
        yield statement.where
    if isinstance(statement, Einsum) and statement.is_keyed:
        yield from statement.keys
    if isinstance(statement, Ranking) and statement.count is not None:
        yield statement.count
