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
from attn_dsl.ir.index_sums import collected
from attn_dsl.ir.walk import index_names, substitute
from attn_dsl.rewrites.definitions import fresh_name


@dataclass(frozen=True, slots=True)
class Place:
    """``dims``: the index of each slot. ``solved``: indices of the statement as expressions in these, which
    hold where ``bounds`` do. ``indices``: those of ``dims`` that had to be declared, each with the tensor's
    own in whose stead it stands. ``computed``: what is collected belongs at the places of the read, not at
    its own."""

    dims: tuple[str, ...]
    solved: tuple[tuple[str, Expr], ...] = ()
    bounds: tuple[Expr, ...] = ()
    indices: tuple[tuple[Index, str], ...] = ()
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
    """The place of a read of a tensor with these dims, in a statement over a space.

    Every slot that is not an index of its own gets an index of the place, the key. Keys never bear the name
    of an index that is still there once the solved ones are gone, so that nothing is captured when these are
    replaced."""
    plain = _plain_slots(read)
    solved_at = _solved(read, dims, plain, streams)
    if solved_at is None:
        return sent_place(read)
    names = {n for slot in read.indices for n in index_names(slot)}
    taken = ({*space} | names) - {*solved_at.values()}
    keys: list[str] = []
    declared: list[tuple[Index, str]] = []
    for at, (slot, dim) in enumerate(zip(read.indices, dims, strict=True)):
        if at in plain:
            assert isinstance(slot, IndexVar)
            key = slot.name
        elif dim not in taken:
            key = dim
        else:
            key = fresh_name(cascade, dim, taken)
            declared.append((Index(key, SizeOf(dim)), dim))
        taken.add(key)
        keys.append(key)
    solved = tuple(
        (index, _solution(read.indices[at], index, IndexVar(keys[at]))) for at, index in solved_at.items()
    )
    fixed = [
        Op("eq", (IndexVar(keys[at]), slot)) for at, slot in enumerate(read.indices) if not index_names(slot)
    ]
    bounds = [b for index, value in solved for b in _within(index, value, cascade)]
    return Place(tuple(keys), solved, (*fixed, *bounds), tuple(declared))


def _plain_slots(read: Read) -> frozenset[int]:
    """The slots that are an index, at its first occurrence as one."""
    first: dict[str, int] = {}
    for at, slot in enumerate(read.indices):
        if isinstance(slot, IndexVar):
            first.setdefault(slot.name, at)
    return frozenset(first.values())


def _solved(
    read: Read, dims: tuple[str, ...], plain: frozenset[int], streams: frozenset[str]
) -> dict[int, str] | None:
    """The index for which each slot is solved that is neither plain nor constant, None where one cannot be:
    the dim's own (of a convolution the element, not the tap), else one of ``streams``: less is read by them
    than by rows, which have statistics too. It stands in that slot alone, so that the solutions do not depend
    on one another."""
    elsewhere = [n for slot in read.indices for n in index_names(slot)]
    found: dict[int, str] = {}
    for at, (slot, dim) in enumerate(zip(read.indices, dims, strict=True)):
        if at in plain or not index_names(slot):
            continue
        solvable = [n for n in index_names(slot) if elsewhere.count(n) == 1 and _part(slot, n) is not None]
        if not solvable:
            return None
        found[at] = min(solvable, key=lambda n: (n != dim, n not in streams))
    return found


def _within(index: str, value: Expr, cascade: Cascade) -> list[Expr]:
    """That an index has a value within its extent, and its limit."""
    limit = cascade.index(index).limit
    limits = [] if limit is None else [Op("lt", (value, limit))]
    return [Op("le", (Const(0), value)), Op("lt", (value, SizeOf(index))), *limits]


def sent_place(read: Read) -> Place:
    """The place of what is collected by the indices that a read is computed from."""
    return Place(tuple(dict.fromkeys(n for slot in read.indices for n in index_names(slot))), computed=True)


def _part(slot: Expr, index: str) -> tuple[int, Expr | None] | None:
    """``(sign, rest)`` where the slot is sign * index + rest; None where it is not of this form."""
    match slot:
        case IndexVar(name=name) if name == index:
            return 1, None
        case Op(name="neg", args=(a,)):
            return _times(-1, _part(a, index))
        case Op(name="add", args=(a, b)):
            on_left = index in index_names(a)
            return _plus(_part(a if on_left else b, index), b if on_left else a)
        case Op(name="sub", args=(a, b)) if index in index_names(a):
            return _plus(_part(a, index), _negative(b))
        case Op(name="sub", args=(a, b)):
            return _plus(_times(-1, _part(b, index)), a)
        case _:
            return None


def _times(sign: int, part: tuple[int, Expr | None] | None) -> tuple[int, Expr | None] | None:
    if part is None or sign > 0:
        return part
    return -part[0], None if part[1] is None else _negative(part[1])


def _plus(part: tuple[int, Expr | None] | None, further: Expr) -> tuple[int, Expr | None] | None:
    if part is None:
        return None
    return part[0], further if part[1] is None else Op("add", (part[1], further))


def _negative(expr: Expr) -> Expr:
    match expr:
        case Op(name="neg", args=(inner,)):
            return inner
        case Op(name="add", args=(Op(name="neg", args=(a,)), b)):
            return Op("sub", (a, b))
        case _:
            return Op("neg", (expr,))


def _solution(slot: Expr, index: str, key: Expr) -> Expr:
    part = _part(slot, index)
    assert part is not None
    sign, rest = part
    if rest is None:
        moved = key
    else:
        match _negative(rest):
            case Op(name="neg"):
                moved = Op("sub", (key, rest))
            case opposite:
                moved = Op("add", (key, opposite))
    return collected(moved if sign > 0 else _negative(moved))
