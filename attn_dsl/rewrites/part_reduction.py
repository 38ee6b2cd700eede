"""Part a reduction in two: partial results, which keep some of its indices, and a second statement that
combines them.

    T[i] += f[i,p,q]                    ->   T_part[i,p] += f[i,p,q];       T[i] += T_part[i,p]

    m[i] max= S[i,p,q]                       m_part[i,p] max= S[i,p,q];     m[i] max= m_part[i,p]
    l[i] += exp(S[i,p,q] - m[i])        ->   l_part[i,p] += exp(S[i,p,q] - m_part[i,p])
                                             l[i] += l_part[i,p] * exp(m_part[i,p] - m[i])

The first is associativity, and holds for every reduction but a mean. The second is for reductions that are
parted together, where one follows another: a part follows the part of that, and is put right by the
correction that lets it follow an extremum in one pass (``folding``, ``passes``). So what a split stream or
another device has can be combined, whatever the normaliser. Where no correction is proved, a part follows the
whole result, which is right and takes a further pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import reduce
from math import inf

from attn_dsl.analysis.folding import NEW, OLD
from attn_dsl.analysis.passes import Fold, analyse_passes
from attn_dsl.ir.cascade import Cascade, Einsum, Reduction, Statement
from attn_dsl.ir.dtypes import Kind
from attn_dsl.ir.expr import Const, Expr, IndexVar, Op, Read, Select
from attn_dsl.ir.kinds import Kinds
from attn_dsl.ir.walk import index_names, transform
from attn_dsl.rewrites.definitions import fresh_name, map_expressions, statement_reads, whole_read

_IDENTITY: dict[Reduction | None, float] = {Reduction.MAX: -inf, Reduction.MIN: inf}


def part_reduction(
    cascade: Cascade, tensors: tuple[str, ...], kept: tuple[str, ...], order: tuple[str, ...] = ()
) -> Cascade | None:
    """The cascade with these reductions in parts over the indices ``kept``, each with those of ``tensors`` it
    follows. ``order``: of all indices, the one in which a part has them; else those kept are in front. None
    where one of them is no reduction over these indices, or cannot be taken in parts."""
    if not kept or not all(_is_partable(cascade, t, kept) for t in tensors):
        return None
    return _Parting(cascade, tensors, kept, order).run()


def _is_partable(cascade: Cascade, tensor: str, kept: tuple[str, ...]) -> bool:
    parts = cascade.definitions(tensor)
    if tensor in cascade.saved or cascade.sending(tensor) is not None or not parts:
        return False
    if not all(
        isinstance(p, Einsum) and not p.is_keyed and p.reduce not in (None, Reduction.MEAN) for p in parts
    ):
        return False
    # Where an index ends may depend on others (``index j < length[b]``): these must be there.
    limits = [cascade.index(k).limit for k in kept if cascade.declares(k)]
    needed = {n for limit in limits if limit is not None for n in index_names(limit)} - {*kept}
    return needed <= {*parts[0].dims} and any(_has(p, kept) for p in parts)


def _has(part: Statement, kept: tuple[str, ...]) -> bool:
    return isinstance(part, Einsum) and {*kept} <= {*part.over}


@dataclass(slots=True)
class _Parting:
    """One run. ``copies``: by pointwise tensor and the results it depends on, the same over parts of
    these."""

    cascade: Cascade
    tensors: tuple[str, ...]
    kept: tuple[str, ...]
    order: tuple[str, ...] = ()
    parts: dict[str, str] = field(default_factory=dict[str, str])
    bases: dict[str, Expr] = field(default_factory=dict[str, Expr])
    copies: dict[tuple[str, frozenset[str]], str] = field(
        default_factory=dict[tuple[str, frozenset[str]], str]
    )
    names: set[str] = field(default_factory=set[str])
    statements: list[Statement] = field(default_factory=list[Statement])

    def run(self) -> Cascade:
        """Statement by statement: a tensor's parts stand where it stood, and what combines them after the
        last."""
        over = {t: {i for s in self.cascade.definitions(t) for i in _over(s)} for t in self.tensors}
        passes = analyse_passes(self.cascade, {t: frozenset(i) for t, i in over.items()})
        folds = {
            t: f
            for t, f in passes.folds.items()
            if all(self._is_extremum(on) and on not in passes.folds for on in f.on)
        }
        followed = {t for f in folds.values() for t in f.on}
        for tensor in self.tensors:
            self.parts[tensor] = self._fresh(f"{tensor}_part")
        left = {t: len(self.cascade.definitions(t)) for t in self.tensors}
        for statement in self.cascade.statements:
            tensor = statement.target
            if tensor not in left:
                self.statements.append(statement)
                continue
            assert isinstance(statement, Einsum)
            fold = folds.get(tensor)
            if not _has(statement, self.kept):
                self.statements.append(statement)
                if tensor in followed and not statement.over:  # what follows a part may count on it
                    self.statements.append(self._part(statement, None))
            else:
                self.statements.append(self._part(statement, fold))
            left[tensor] -= 1
            if not left[tensor]:
                self.statements.append(self._combined(statement, fold))
        return replace(self.cascade, statements=tuple(self.statements))

    def _fresh(self, wanted: str) -> str:
        name = fresh_name(self.cascade, wanted, self.names)
        self.names.add(name)
        return name

    def _is_extremum(self, tensor: str) -> bool:
        """Whether a result may be followed part by part. A sum may not: it can be 0 in a part and not as a
        whole, and what belongs to no part would be counted in each."""
        own = self.cascade.definitions(tensor)[0]
        return isinstance(own, Einsum) and own.reduce in _IDENTITY

    # parts

    def _part(self, statement: Einsum, fold: Fold | None) -> Einsum:
        dims = self._with_kept(statement.dims)
        moved = replace(
            statement,
            target=self.parts[statement.target],
            dims=dims,
            keys=tuple(IndexVar(d) for d in dims),
            over=tuple(i for i in statement.over if i not in self.kept),
        )
        return moved if fold is None else self._following(moved, frozenset(fold.on))

    def _following(self, statement: Einsum, results: frozenset[str]) -> Einsum:
        """A statement that reads parts where it read these results."""

        def rule(node: Expr) -> Expr:
            if not isinstance(node, Read):
                return node
            if node.tensor in results:
                return self._base(node.tensor)
            if not self._depends(node.tensor, results):
                return node
            dims = self.cascade.definitions(node.tensor)[0].dims
            return whole_read(self._copy(node.tensor, results), self._with_kept(dims))

        moved = map_expressions(statement, lambda expr: transform(expr, rule))
        assert isinstance(moved, Einsum)
        return moved

    def _copy(self, tensor: str, results: frozenset[str]) -> str:
        """A pointwise tensor, of the parts."""
        if (tensor, results) not in self.copies:
            name = self.copies[tensor, results] = self._fresh(f"{tensor}_part")
            (own,) = self.cascade.definitions(tensor)
            assert isinstance(own, Einsum)
            dims = self._with_kept(own.dims)
            moved = replace(own, target=name, dims=dims, keys=tuple(IndexVar(d) for d in dims))
            self.statements.append(self._following(moved, results))
        return self.copies[tensor, results]

    def _with_kept(self, dims: tuple[str, ...]) -> tuple[str, ...]:
        found = (*(k for k in self.kept if k not in dims), *dims)
        return tuple(sorted(found, key=self.order.index)) if self.order else found

    def _depends(self, tensor: str, results: frozenset[str]) -> bool:
        """Whether a pointwise tensor is made of these results."""
        match self.cascade.definitions(tensor):
            case (Einsum(reduce=None) as own,):
                return any(t in results or self._depends(t, results) for t in statement_reads(own))
            case _:
                return False

    # what a part stands on

    def _whole(self, tensor: str) -> Read:
        return whole_read(tensor, self.cascade.definitions(tensor)[0].dims)

    def _own(self, tensor: str) -> Read:
        """The part of a result, where the parted statement stands."""
        return whole_read(self.parts[tensor], self._with_kept(self.cascade.definitions(tensor)[0].dims))

    def _base(self, tensor: str) -> Expr:
        """What a part takes for the part of a result: 0 for an extremum of nothing but infinities, since what
        follows it has then been proved to be nothing, whatever stands there."""
        if tensor not in self.bases:
            own = self._own(tensor)
            identity = self._identity(tensor)
            if identity is None:
                self.bases[tensor] = own
            else:
                name = self._fresh(f"{tensor}_base")
                dims = tuple(n for slot in own.indices for n in index_names(slot))
                body = _finite(own, identity)
                self.statements.append(Einsum(name, dims, own.indices, None, (), body))
                self.bases[tensor] = whole_read(name, dims)
        return self.bases[tensor]

    def _identity(self, tensor: str) -> Const | None:
        """The infinity that an extremum of reals begins with."""
        own = self.cascade.definitions(tensor)[0]
        assert isinstance(own, Einsum)
        is_real = Kinds(self.cascade).of(self._whole(tensor)) is Kind.REAL
        return Const(_IDENTITY[own.reduce]) if is_real and own.reduce in _IDENTITY else None

    # combining

    def _combined(self, statement: Einsum, fold: Fold | None) -> Einsum:
        part: Expr = whole_read(self.parts[statement.target], self._with_kept(statement.dims))
        if fold is not None:
            operator = "mul" if fold.kind == "ratio" else "add"
            for correction in self._corrections(fold):
                part = Op(operator, (part, correction))
        return replace(statement, over=self.kept, body=part, where=None)

    def _corrections(self, fold: Fold) -> Iterator[Expr]:
        """From the results of a part to the whole ones; then, where an extremum of these is infinite to the
        end, from the 0 that was taken for it, once for all parts: of a softmax that makes nan, as IEEE
        says."""
        neutral = Const(1.0 if fold.kind == "ratio" else 0.0)
        old = {t: self._own(t) for t in fold.on}
        new: dict[str, Expr] = {t: self._usable(t) for t in fold.on}
        same = [Op("eq", (old[t], new[t])) for t in fold.on]
        still: Expr = reduce(lambda a, b: Op("and", (a, b)), same)
        for result, read in old.items():
            identity = self._identity(result)
            still = still if identity is None else Op("or", (Op("eq", (read, identity)), still))
        bases = {t: self._base(t) for t in fold.on}
        yield Select(still, neutral, _between(fold.correction, bases, new))
        if fold.endless:
            whole: dict[str, Expr] = {t: self._whole(t) for t in fold.on}
            settled = reduce(
                lambda a, b: Op("and", (a, b)), [Op("eq", (new[t], whole[t])) for t in fold.endless]
            )
            yield Select(settled, neutral, _between(fold.correction, new, whole))

    def _usable(self, tensor: str) -> Expr:
        """A whole result, 0 where it is an extremum of nothing but infinities."""
        identity = self._identity(tensor)
        return self._whole(tensor) if identity is None else _finite(self._whole(tensor), identity)


def _over(statement: Statement) -> tuple[str, ...]:
    return statement.over if isinstance(statement, Einsum) else ()


def _finite(read: Read, identity: Const) -> Expr:
    return Select(Op("eq", (read, identity)), Const(0.0), read)


def _between(correction: Expr, old: dict[str, Expr], new: dict[str, Expr]) -> Expr:
    """A correction from some values of the results to others."""
    table = {**{OLD + t: e for t, e in old.items()}, **{NEW + t: e for t, e in new.items()}}
    return transform(correction, lambda n: table.get(n.tensor, n) if isinstance(n, Read) else n)


__all__ = ["part_reduction"]
