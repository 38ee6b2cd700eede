"""Which tensors a statement depends on once pointwise definitions are looked through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from attn_dsl.analysis.guards import Guards
from attn_dsl.analysis.logic import PRESENT
from attn_dsl.ir.cascade import Cascade, Einsum, Statement
from attn_dsl.ir.expr import Expr, IndexVar, Read
from attn_dsl.ir.walk import children, index_names, tensors_read, walk


@dataclass(frozen=True)
class Dependence:
    """Questions about the dataflow of one cascade, answered once."""

    cascade: Cascade

    @cached_property
    def by_target(self) -> dict[str, tuple[Statement, ...]]:
        """Every computed tensor with its statements, in the order in which they are complete: all that a
        tensor reads stands before it."""
        table: dict[str, tuple[Statement, ...]] = {}
        for statement in self.cascade.statements:
            table[statement.target] = (*table.pop(statement.target, ()), statement)
        return table

    @cached_property
    def reductions(self) -> tuple[str, ...]:
        """The tensors that are computed by a reduction, in the order in which they are complete."""
        return tuple(t for t, parts in self.by_target.items() if is_reduction(parts) and t in self.needed)

    @cached_property
    def needed(self) -> frozenset[str]:
        """The tensors to be computed: those that outputs depend on, presence included, up to what is
        saved."""
        given = {*self.cascade.saved}
        pending = [*(o.name for o in self.cascade.outputs), *(s.statement for s in self.cascade.sendings)]
        needed: set[str] = set()
        while pending:
            tensor = pending.pop()
            if tensor in needed or tensor in given or tensor not in self.by_target:
                continue
            needed.add(tensor)
            for part in self.by_target[tensor]:
                guards = [self.guards.of(part)] if isinstance(part, Einsum) else []
                read = {t for e in (*self.evaluated(part), *guards) for t in tensors_read(e)} - given
                pending += [t.removeprefix(PRESENT) for t in read]
        return frozenset(needed)

    @cached_property
    def guards(self) -> Guards:
        """Where the elements of each contribution exist."""
        return Guards(self.cascade)

    def evaluated(self, statement: Statement) -> tuple[Expr, ...]:
        """The expressions of a statement, with the places its elements are sent to."""
        sending = self.cascade.sending(statement.target)
        return (*expressions(statement), *(() if sending is None else sending.keys))

    def dims(self, tensor: str) -> tuple[str, ...]:
        """The indices of a tensor's slots, for inputs and computed tensors alike."""
        declared = self.cascade.input(tensor)
        return declared.dims if declared is not None else self.by_target[tensor][0].dims

    @cached_property
    def operands(self) -> tuple[tuple[str, frozenset[str]], ...]:
        """The inputs as they are read: each with the indices its slots depend on (a page table's keys are
        read at ``page[b, j // s]``: they vary with b and j)."""
        reads = [
            n
            for s in self.cascade.statements
            for e in self.evaluated(s)
            for n in walk(e)
            if isinstance(n, Read)
        ]
        found = ((r.tensor, frozenset(n for slot in r.indices for n in index_names(slot))) for r in reads)
        return tuple(dict.fromkeys(f for f in found if f[0] not in self.by_target))

    def over(self, tensor: str) -> frozenset[str]:
        """The indices a computed tensor reduces, over all its contributions."""
        parts = self.by_target[tensor]
        return frozenset(i for s in parts if isinstance(s, Einsum) for i in s.over)

    @cached_property
    def places(self) -> dict[str, int]:
        """The indices in one order for every process: as the inputs have them, then as they are declared."""
        given = (d for i in self.cascade.inputs for d in i.dims)
        names = dict.fromkeys((*given, *(i.name for i in self.cascade.indices)))
        return {name: at for at, name in enumerate(names)}

    def in_order(self, indices: Iterable[str]) -> tuple[str, ...]:
        """Indices, in the order of ``places``."""
        return tuple(sorted(indices, key=self.places.__getitem__))

    @cached_property
    def _direct(self) -> dict[str, tuple[str, ...]]:
        return {
            target: tuple(dict.fromkeys(t for s in parts for e in self.evaluated(s) for t in tensors_read(e)))
            for target, parts in self.by_target.items()
        }

    @cached_property
    def _ancestors(self) -> dict[str, frozenset[str]]:
        closure: dict[str, frozenset[str]] = {}
        for target, direct in self._direct.items():
            closure[target] = frozenset(direct).union(*(closure.get(t, frozenset()) for t in direct))
        return closure

    def direct(self, tensor: str) -> tuple[str, ...]:
        """The tensors read by the definition of a computed tensor."""
        return self._direct.get(tensor, ())

    def ancestors(self, tensor: str) -> frozenset[str]:
        """Every tensor, inputs included, that a computed tensor depends on."""
        return self._ancestors.get(tensor, frozenset())

    def sources(self, tensor: str) -> tuple[str, ...]:
        """The inputs and reductions reached from a definition without looking through a reduction. What has
        several contributions, none of which sums anything, is looked through."""
        return self._sources.get(tensor, ())

    @cached_property
    def _sources(self) -> dict[str, tuple[str, ...]]:
        table: dict[str, tuple[str, ...]] = {}
        for name in self.by_target:
            seen: dict[str, None] = {}
            for read in self.direct(name):
                looked_through = read in self.by_target and not self.over(read)
                seen |= dict.fromkeys(table.get(read, ()) if looked_through else (read,))
            table[name] = tuple(seen)
        return table

    @cached_property
    def _consumers(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for reduction in self.reductions:
            for source in self.sources(reduction):
                found.setdefault(source, []).append(reduction)
        return {source: tuple(names) for source, names in found.items()}

    def consumers(self, tensor: str) -> tuple[str, ...]:
        """The reductions whose definition reaches this tensor without looking through another reduction."""
        return self._consumers.get(tensor, ())

    @cached_property
    def positional(self) -> frozenset[str]:
        """Indices whose integer value is used: in a mask or a score, other than as a plain slot of a read."""
        found: set[str] = set()
        for statement in self.cascade.statements:
            for expr in self.evaluated(statement):
                found |= _positional(expr)
        return frozenset(found)


def is_reduction(parts: tuple[Statement, ...]) -> bool:
    """Whether a tensor's statements reduce (several contributions always do)."""
    return any(isinstance(s, Einsum) and s.reduce is not None for s in parts)


def expressions(statement: Statement) -> tuple[Expr, ...]:
    """The expressions of a statement: body, guard and, of a ranking, its count."""
    match statement:
        case Einsum(body=body, where=where, keys=keys):
            return (body, *(() if where is None else (where,)), *keys)
        case _:
            return tuple(e for e in (statement.body, statement.where, statement.count) if e is not None)


def _positional(expr: Expr) -> set[str]:
    if isinstance(expr, IndexVar):
        return set()  # the root of a plain slot or key
    found: set[str] = set()
    for node in walk(expr):
        parts = node.indices if isinstance(node, Read) else None
        if parts is not None:
            for slot in parts:
                if not isinstance(slot, IndexVar):
                    found |= set(index_names(slot))
            continue
        found |= {child.name for child in children(node) if isinstance(child, IndexVar)}
    return found
