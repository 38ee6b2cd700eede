"""Where a read stands in the adjoint of what it reads.

T[i, j]                   plain: at its own indices, or at others of the statement's
T[j + t - 2, d]           shifted: solved for an index, j = k - t + 2, whose name is then free
T[i, j - i]               both: j = k + i
T[table[i], d]            computed: what each (i, d) sends is collected by itself, and sent to its place at the end
"""

from __future__ import annotations

from dataclasses import dataclass

from attn_dsl.ir.cascade import Cascade, Index
from attn_dsl.ir.expr import Const, Expr, IndexVar, Op, Read, SizeOf
from attn_dsl.ir.walk import index_names, substitute


@dataclass(frozen=True, slots=True)
class Place:
    """``dims``: the index of each slot. ``solved``: indices of the statement as expressions in these, which hold
    where ``bounds`` do. ``indices``: those of ``dims`` that had to be declared. ``computed``: what is collected
    belongs at the places of the read, not at its own."""

    dims: tuple[str, ...]
    solved: tuple[tuple[str, Expr], ...] = ()
    bounds: tuple[Expr, ...] = ()
    indices: tuple[Index, ...] = ()
    computed: bool = False

    def moved(self, expr: Expr) -> Expr:
        """An expression over the statement's indices, in terms of the place's."""
        return substitute(expr, dict(self.solved)) if self.solved else expr

    def guard(self, where: Expr | None) -> Expr | None:
        """A statement's guard at the place."""
        parts = [*self.bounds, *(() if where is None else (self.moved(where),))]
        result: Expr | None = None
        for part in parts:
            result = part if result is None else Op("and", (result, part))
        return result

    def space(self, space: tuple[str, ...]) -> tuple[str, ...]:
        """The statement's indices, those solved for replaced."""
        gone = {name for name, _ in self.solved}
        return tuple(dict.fromkeys((*(i for i in space if i not in gone), *self.dims)))


def place_of(
    read: Read, dims: tuple[str, ...], space: tuple[str, ...], cascade: Cascade, streams: frozenset[str]
) -> Place:
    """The place of a read of a tensor with these dims, in a statement over a space. It is solved for one of ``streams``
    where that can be: less is read by them than by rows, which have statistics too."""
    found: list[str] = []
    solved: list[tuple[str, Expr]] = []
    bounds: list[Expr] = []
    declared: list[Index] = []
    elsewhere = [n for slot in read.indices for n in index_names(slot)]
    for slot, dim in zip(read.indices, dims, strict=True):
        if isinstance(slot, IndexVar) and slot.name not in found:
            found.append(slot.name)
            continue
        used = {*space, *found, *(d.name for d in declared), *elsewhere}
        key = dim if dim not in used or _solvable(slot, dim, elsewhere) else _fresh(dim, used)
        if key != dim:
            declared.append(Index(key, SizeOf(dim)))
        found.append(key)
        if not index_names(slot):
            bounds.append(Op("eq", (IndexVar(key), slot)))
            continue
        solvable = [n for n in index_names(slot) if _solvable(slot, n, elsewhere)]
        index = next((n for n in solvable if n in streams), next(iter(solvable), None))
        if index is None:
            return sent_place(read)
        value = _solution(slot, index, IndexVar(key))
        solved.append((index, value))
        bounds += [Op("le", (Const(0), value)), Op("lt", (value, SizeOf(index)))]
        limit = cascade.index(index).limit
        bounds += [] if limit is None else [Op("lt", (value, limit))]
    return Place(tuple(found), tuple(solved), tuple(bounds), tuple(declared))


def sent_place(read: Read) -> Place:
    """The place of what is collected by the indices that a read is computed from."""
    return Place(tuple(dict.fromkeys(n for slot in read.indices for n in index_names(slot))), computed=True)


def _fresh(dim: str, used: set[str]) -> str:
    count = 2
    while f"{dim}_{count}" in used:
        count += 1
    return f"{dim}_{count}"


def _solvable(slot: Expr, index: str, elsewhere: list[str]) -> bool:
    return elsewhere.count(index) == 1 and _part(slot, index) is not None


def _part(slot: Expr, index: str) -> tuple[int, Expr | None] | None:
    """``(sign, rest)`` where the slot is sign * index + rest; None where it is not of this form."""
    match slot:
        case IndexVar(name=name) if name == index:
            return 1, None
        case Op(name="neg", args=(a,)):
            inner = _part(a, index)
            return (
                None if inner is None else (-inner[0], None if inner[1] is None else Op("neg", (inner[1],)))
            )
        case Op(name="add" | "sub" as name, args=(a, b)):
            on_left = index in index_names(a)
            inner = _part(a if on_left else b, index)
            if inner is None:
                return None
            sign, rest = inner
            if on_left:
                return sign, Op(name, (Const(0) if rest is None else rest, b))
            if name == "add":
                return sign, a if rest is None else Op("add", (a, rest))
            return -sign, a if rest is None else Op("sub", (a, rest))
        case _:
            return None


def _solution(slot: Expr, index: str, key: Expr) -> Expr:
    part = _part(slot, index)
    assert part is not None
    sign, rest = part
    moved = key if rest is None else Op("sub", (key, rest))
    return moved if sign > 0 else Op("neg", (moved,))
