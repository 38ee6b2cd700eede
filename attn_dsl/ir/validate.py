"""What holds of every cascade, checked: names are bound, slots fit, definitions come first.

Resolving a text establishes these, and every rewrite and derivative keeps them. Where one does not, the
defect is ours; a kernel generated from it would compute something else without a word, so the cascade is not
used:

    d_X[i] = d_Y[i] * W[u]      'u' is bound neither by the target nor by a sum
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from attn_dsl.ir.cascade import Cascade, Einsum, Ranking, RankingKind, Statement
from attn_dsl.ir.expr import Expr, IndexVar, Member, Op, Read, SizeOf
from attn_dsl.ir.walk import index_names, walk

_PRESENT = "present:"


class MalformedCascadeError(Exception):
    """A cascade that no text means: a defect of the rewrite or derivative that made it."""


def validated(cascade: Cascade) -> Cascade:
    """The cascade itself; MalformedCascadeError says what is wrong with it."""
    found = faults(cascade)
    if found:
        raise MalformedCascadeError(f"{cascade.name}: " + "; ".join(found))
    return cascade


def faults(cascade: Cascade) -> list[str]:
    """What is wrong with a cascade, in sentences; nothing where it is sound."""
    return list(_Validator(cascade).faults())


def cancelling_slots(cascade: Cascade) -> list[str]:
    """Slots from which a term is taken that stands in them already, ``i - i``: where no text has such, the
    trace of a substitution that took one index for another."""
    return [
        f"'{read.tensor}' is read at opposite terms of '{name}' in '{statement.target}'"
        for statement in cascade.statements
        for expr in _evaluated(statement)
        for read in walk(expr)
        if isinstance(read, Read)
        for slot in read.indices
        for name in _opposite(slot)
    ]


class _Validator:
    def __init__(self, cascade: Cascade) -> None:
        self._cascade = cascade
        self._known = {i.name for i in cascade.indices}
        self._dims = {i.name: i.dims for i in cascade.inputs}
        self._last: dict[str, int] = {}
        for at, statement in enumerate(cascade.statements):
            self._dims.setdefault(statement.target, statement.dims)
            self._last[statement.target] = at

    def faults(self) -> Iterator[str]:
        """All of them."""
        yield from self._declarations()
        for at, statement in enumerate(self._cascade.statements):
            own = [*self._shape(statement), *self._bound(statement)]
            own += [f for e in _evaluated(statement) for f in self._reads(e, at)]
            yield from (f"'{statement.target}': {fault}" for fault in own)
        yield from self._results()

    def _declarations(self) -> Iterator[str]:
        cascade = self._cascade
        names = [i.name for i in cascade.inputs]
        for kind, found in (
            ("index", [i.name for i in cascade.indices]),
            ("input", names),
            ("output", [o.name for o in cascade.outputs]),
        ):
            yield from (f"{kind} '{name}' is declared twice" for name in _repeated(found))
        yield from (f"input '{n}' is computed too" for n in names if n in self._last)
        for declared in cascade.inputs:
            yield from (f"'{declared.name}': {f}" for f in self._distinct(declared.dims))
        for index in cascade.indices:
            for expr in (index.size, index.limit):
                if expr is not None:
                    yield from (f"index '{index.name}': {f}" for f in self._reads(expr, 0))

    def _shape(self, statement: Statement) -> Iterator[str]:
        yield from self._distinct(statement.dims)
        if statement.dims != self._dims[statement.target]:
            yield "its statements have different indices"
        if isinstance(statement, Ranking):
            if (statement.over in statement.dims) == (statement.kind is RankingKind.ARGMAX):
                yield f"a ranking along '{statement.over}' keeps it but for argmax"
            return
        if len(statement.keys) != len(statement.dims):
            yield f"{len(statement.keys)} keys for {len(statement.dims)} slots"
        yield from (f"it reduces '{name}' twice" for name in _repeated(statement.over))
        plain = {k.name for k in statement.keys if isinstance(k, IndexVar)}
        yield from (f"it reduces '{name}', which it keeps" for name in statement.over if name in plain)
        if statement.reduce is None and (statement.over or statement.is_keyed):
            yield "an element by element definition reduces nothing, and sends nothing elsewhere"
        parts = self._cascade.definitions(statement.target)
        if any(not isinstance(p, Einsum) or p.reduce is not statement.reduce for p in parts):
            yield "its statements reduce differently"
        if len(parts) > 1 and statement.reduce is None:
            yield "it is defined twice"

    def _distinct(self, dims: tuple[str, ...]) -> Iterator[str]:
        yield from (f"the index '{name}' stands in two slots" for name in _repeated(dims))
        yield from (f"the index '{name}' is not declared" for name in dims if name not in self._known)

    def _bound(self, statement: Statement) -> Iterator[str]:
        if isinstance(statement, Einsum):
            bound = {*statement.over, *(n for k in statement.keys for n in index_names(k))}
        else:
            bound = {statement.over, *statement.dims}
        used = {n for e in _evaluated(statement) for n in index_names(e)}
        yield from (f"the index '{n}' is not declared" for n in sorted((bound | used) - self._known))
        yield from (f"'{n}' is bound neither by the target nor by a sum" for n in sorted(used - bound))

    def _reads(self, expr: Expr, at: int) -> Iterator[str]:
        """Of an expression of the statement ``at``."""
        for node in walk(expr):
            match node:
                case SizeOf(index=name) if name not in self._known:
                    yield f"size({name}) of no index"
                case Read(tensor=tensor, indices=slots) | Member(tensor=tensor, indices=slots):
                    yield from self._read(tensor, len(slots), at)
                case _:
                    pass

    def _read(self, tensor: str, slots: int, at: int) -> Iterator[str]:
        name = tensor.removeprefix(_PRESENT)
        if name not in self._dims:
            yield f"it reads '{name}', which nothing defines"
            return
        if slots != len(self._dims[name]):
            yield f"it reads '{name}' at {slots} slots, which has {len(self._dims[name])}"
        if self._last.get(name, -1) >= at:
            yield f"it reads '{name}' before that is complete"

    def _results(self) -> Iterator[str]:
        cascade = self._cascade
        sent = {s.tensor: s.dims for s in cascade.sendings}
        for output in cascade.outputs:
            dims = sent.get(output.name, self._dims.get(output.name))
            laid_out = [i for axis in output.axes for i in axis.indices]
            if dims is None:
                yield f"nothing defines the output '{output.name}'"
            elif sorted(laid_out) != sorted(dims):
                yield f"the output '{output.name}' is laid out by other indices than its own"
        given = (name.removeprefix(_PRESENT) for name in cascade.saved)
        yield from (f"'{name}' is given, and means nothing" for name in given if name not in self._last)


def _evaluated(statement: Statement) -> tuple[Expr, ...]:
    match statement:
        case Einsum(body=body, where=where, keys=keys):
            parts = (body, where, *keys)
        case Ranking(body=body, where=where, count=count):
            parts = (body, where, count)
    return tuple(p for p in parts if p is not None)


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _opposite(slot: Expr) -> list[str]:
    """The indices that a sum both adds and takes away."""
    signs = set(_signed(slot, 1))
    return sorted({name for name, sign in signs if (name, -sign) in signs})


def _signed(expr: Expr, sign: int) -> Iterator[tuple[str, int]]:
    match expr:
        case IndexVar(name=name):
            yield name, sign
        case Op(name="neg", args=(a,)):
            yield from _signed(a, -sign)
        case Op(name="add" | "sub" as name, args=(a, b)):
            yield from _signed(a, sign)
            yield from _signed(b, sign if name == "add" else -sign)
        case _:
            return
