"""What a tile sends to computed places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attn_dsl.analysis.logic import TRUE, conjuncts
from attn_dsl.analysis.presence import total_body
from attn_dsl.codegen.lowering.context import KernelContext, Scope
from attn_dsl.codegen.lowering.contraction import ContractionLowering
from attn_dsl.codegen.lowering.expressions import ExpressionLowering
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.program import PARTS
from attn_dsl.codegen.tiles import Node, Store
from attn_dsl.ir.cascade import Einsum, Reduction, Sending
from attn_dsl.ir.expr import Expr, IndexVar, Read
from attn_dsl.ir.walk import index_names


class SendLowering:
    """Lowers keyed sums: each element of a tile is added where its keys say."""

    def __init__(
        self, context: KernelContext, expressions: ExpressionLowering, contraction: ContractionLowering
    ) -> None:
        self.context = context
        self.expressions = expressions
        self.contraction = contraction

    def store(self, part: Einsum, conditions: Sequence[Node], scope: Scope) -> Store:
        """Add the elements of a contribution, where all ``conditions`` hold, at their places."""
        sending = self.context.cascade.sending(part.target)
        assert sending is not None
        keys = tuple(self._total(k) for k in sending.keys)
        placed = {n for key in keys for n in index_names(key)}
        inner = tuple(i for i in part.over if i in self.context.tiles.whole and i not in placed)
        along = self._along_diagonals(part, inner, keys, conditions, scope)
        if along is not None:
            value, scope = along
            exist = self._lanes(placed & {*self.context.tiles.whole}, (), scope)
        else:
            value = self._value(part, inner, conditions, scope)
            exist = [c for c in conditions if not set(c.axes) & set(inner)]
            exist += self._lanes((*part.dims, *placed), (*self.context.plan.rows, *scope.stream), scope)
        storage = self.context.storage[sending.tensor]
        parted = storage.axes[0] == (PARTS,)
        slots = (IndexVar(PARTS), *keys) if parted else keys
        access, places, inside = self.expressions.access(Read(sending.tensor, slots), scope)
        exist += self._existing(sending, scope)
        mask = self.expressions.all_of([*exist, *([] if inside is None else [inside])])
        for row in self.context.plan.rows:  # what deals the tiles of rows to the parts needs their number
            self.expressions.size(row)
        return Store(access, places, value, mask, adds=True)

    def _along_diagonals(
        self,
        part: Einsum,
        inner: tuple[str, ...],
        keys: tuple[Expr, ...],
        conditions: Sequence[Node],
        scope: Scope,
    ) -> tuple[Node, Scope] | None:
        """Where all elements of a diagonal go to one place: their sum, and the scope in which keys are those
        of diagonals."""
        diagonals = self.contraction.diagonals
        band = None if inner else diagonals.bands.find(keys, scope)
        if band is None:
            return None
        tiled = self._lanes((), (*self.context.plan.rows, *scope.stream), scope)
        value = diagonals.summed(part.body, [*conditions, *tiled], band, scope)
        return None if value is None else (value, diagonals.bands.scope(band, scope))

    def _value(self, part: Einsum, inner: tuple[str, ...], conditions: Sequence[Node], scope: Scope) -> Node:
        """An element, summed over the features that have no part in where it goes."""
        if inner:
            axes = self.expressions.builder.ordered(inner)
            selecting = [c for c in conditions if set(c.axes) & set(axes)]
            return self.contraction.reduce(Reduction.SUM, part.body, selecting, axes, scope)
        value = self.expressions.lower(part.body, scope)
        if value.dtype == "bool":
            return self.expressions.cast(value, "i32")
        return self.expressions.real(value) if is_float(value.dtype) else value

    def _total(self, key: Expr) -> Expr:
        return self.context.flow.guards.shared(total_body(key, self.context.cascade))

    def _existing(self, sending: Sending, scope: Scope) -> list[Node]:
        """Where the keys themselves exist."""
        found = [self.context.flow.guards.presence(k) for k in sending.keys if not isinstance(k, IndexVar)]
        return [self.expressions.lower(c, scope) for e in found if e != TRUE for c in conjuncts(e)]

    def _lanes(self, varying: Iterable[str], tiled: Iterable[str], scope: Scope) -> list[Node]:
        """Which lanes of the tile exist; ``varying``: the indices of an element, of which whole ones may be
        padded."""
        whole = [d for d in varying if d in self.context.tiles.whole]
        return [
            b for index in dict.fromkeys((*tiled, *whole)) for b in self.expressions.lane_bounds(index, scope)
        ]
