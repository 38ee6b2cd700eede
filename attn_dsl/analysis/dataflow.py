"""From a reduction back to the reductions of the same kernel that it uses, pointwise tensors looked
through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from attn_dsl.analysis.folding import Obstacle
from attn_dsl.analysis.logic import PRESENT
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.expr import Expr, Member, Read
from attn_dsl.ir.walk import transform, walk
from attn_dsl.rewrites.definitions import (
    Definitions,
    expressions,
    pointwise_definition,
    reads_plainly,
    statement_reads,
)

_NODES = 2000


@dataclass(frozen=True, slots=True)
class Need:
    """A reduction that another uses; ``obstacle`` where it is used in a way no correction can follow."""

    result: str
    obstacle: str | None = None


class Dataflow:
    """The dependences between the streamed reductions (``results``) of one kernel."""

    def __init__(self, cascade: Cascade, results: frozenset[str]) -> None:
        self._results = results
        self._definitions = Definitions(cascade)
        self._origins: dict[str, frozenset[str]] = {}
        self._sizes: dict[str, int] = {}
        self._used: dict[str, tuple[Need, ...]] = {}
        for statement in cascade.statements:
            found = frozenset[str]().union(*(self.origins(t) for t in statement_reads(statement)))
            self._origins[statement.target] = self._origins.get(statement.target, frozenset()) | found

    def origins(self, tensor: str) -> frozenset[str]:
        """The results a tensor depends on, the nearest ones; of a result, itself."""
        tensor = tensor.removeprefix(PRESENT)
        if tensor in self._results:
            return frozenset({tensor})
        return self._origins.get(tensor, frozenset())

    def needs(self, target: str) -> tuple[Need, ...]:
        """The results that the definition of a target uses."""
        parts = self._definitions.of(target)
        return _strictest(need for s in parts for e in expressions(s) for need in self._uses(e))

    def reaches(self, part: Einsum) -> frozenset[str]:
        """The results that one contribution uses."""
        return frozenset(n.result for e in expressions(part) for n in self._uses(e))

    def guards(self, part: Einsum, results: frozenset[str]) -> tuple[Expr, ...]:
        """The guards over a contribution, of looked-through definitions too, that depend on the results."""
        found: list[Expr] = []
        pending, seen = [part], {part.target}
        while pending:
            statement = pending.pop()
            if statement.where is not None and self._depends(statement.where, results):
                found.append(statement.where)
            inner = [d for node in walk(statement.body) if (d := self._looked_through(node)) is not None]
            pending += [d for d in inner if d.target not in seen]
            seen |= {d.target for d in inner}
        return tuple(found)

    def filled_in(self, expr: Expr, results: frozenset[str]) -> Expr:
        """The expression with every pointwise tensor that depends on the results replaced by its body."""
        if self._size(expr) > _NODES:
            raise Obstacle(f"its dependence has more than {_NODES} operations, too many to decide")

        def rule(node: Expr) -> Expr:
            statement = self._looked_through(node)
            if statement is None or not self._depends(node, results):
                return node
            return transform(statement.body, rule)

        return transform(expr, rule)

    def _uses(self, expr: Expr) -> Iterator[Need]:
        for node in walk(expr):
            if not isinstance(node, (Read, Member)) or not self.origins(node.tensor):
                continue
            if node.tensor.startswith(PRESENT):
                why = f"it depends on whether {node.tensor.removeprefix(PRESENT)} exists"
                yield from (Need(origin, why) for origin in sorted(self.origins(node.tensor)))
            elif node.tensor in self._results:
                yield Need(node.tensor, self._misread(node))
            elif (statement := self._looked_through(node)) is not None:
                if statement.target not in self._used:
                    self._used[statement.target] = self.needs(statement.target)
                yield from self._used[statement.target]
            else:
                why = self._misread(node) or f"it uses {node.tensor}, which is reduced once more"
                yield from (Need(origin, why) for origin in sorted(self.origins(node.tensor)))

    def _misread(self, node: Read | Member) -> str | None:
        dims = self._definitions.dims(node.tensor)
        if isinstance(node, Read) and reads_plainly(node, dims):
            return None
        return f"it reads {node.tensor} at other places than its own indices"

    def _looked_through(self, node: Expr) -> Einsum | None:
        if not isinstance(node, Read) or node.tensor in self._results or not self.origins(node.tensor):
            return None
        statement = pointwise_definition(self._definitions.of(node.tensor))
        return statement if statement is not None and reads_plainly(node, statement.dims) else None

    def _depends(self, expr: Expr, results: frozenset[str]) -> bool:
        return any(results & self.origins(n.tensor) for n in walk(expr) if isinstance(n, (Read, Member)))

    def _size(self, expr: Expr) -> int:
        """How many nodes the filled-in expression has, without building it."""
        count = 0
        for node in walk(expr):
            count += 1
            statement = self._looked_through(node)
            if statement is None:
                continue
            if statement.target not in self._sizes:
                self._sizes[statement.target] = self._size(statement.body)
            count += self._sizes[statement.target]
        return count


def _strictest(needs: Iterable[Need]) -> tuple[Need, ...]:
    """Each result once, with an obstacle where any of its uses has one."""
    found: dict[str, Need] = {}
    for need in needs:
        if need.result not in found or (need.obstacle is not None and found[need.result].obstacle is None):
            found[need.result] = need
    return tuple(found.values())
