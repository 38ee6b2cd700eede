"""How often a kernel must walk over its streams: which reduction runs in which pass.

A reduction whose body uses the result of another needs a pass of its own, after the other's, unless the
accumulator can be corrected while the other result changes (``folding``). Attention as written takes three
passes (maximum, normaliser, output), two with the division hoisted, one with folds: the counts and lower
bounds of FuseMax (Nayak et al., 2024).

Within a pass: first the contributions without an index of their own (a sink), then the loops over the
streams. A fold is therefore right only if an earlier result exists wherever it is read, at that moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from attn_dsl.analysis.dataflow import Dataflow, Need
from attn_dsl.analysis.folding import NEW, OLD, Body, FoldKind, Obstacle, correction
from attn_dsl.analysis.vanishing import vanishes
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.dtypes import Kind
from attn_dsl.ir.expr import Const, Expr, Span
from attn_dsl.ir.kinds import Kinds
from attn_dsl.rewrites.definitions import Definitions
from attn_dsl.rewrites.presence import Presence
from attn_dsl.rewrites.signs import is_positive


@dataclass(frozen=True, slots=True)
class Fold:
    """``acc * correction`` (ratio) or ``acc + correction`` (difference) when the results ``on`` change;
    ``correction`` reads them as ``old:name`` and ``new:name``, besides row values. An accumulator that holds
    nothing yet needs none, and only then may the old results be absent. ``resting``: those of ``on`` that are
    at their identity only while the accumulator holds nothing that counts; ``endless``: those of them that
    may be there to the end, extrema of nothing but infinities."""

    target: str
    on: tuple[str, ...]
    kind: FoldKind
    correction: Expr
    resting: tuple[str, ...] = ()
    endless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Break:
    """Why a reduction needs a further pass: what it waits for, and what prevents the fold."""

    target: str
    needs: tuple[str, ...]
    reason: str
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class PassAnalysis:
    """``level``: the pass, from 0, of each reduction; ``order``: all of them, pass by pass, each after what
    it uses."""

    level: Mapping[str, int]
    folds: Mapping[str, Fold]
    breaks: tuple[Break, ...]
    order: tuple[str, ...]

    @property
    def count(self) -> int:
        """The number of passes."""
        return 1 + max(self.level.values(), default=-1)


def analyse_passes(
    cascade: Cascade, streams: Mapping[str, frozenset[str]], *, fold: bool = True
) -> PassAnalysis:
    """Assign passes to the reductions of one kernel. ``streams``: the indices each of them streams over.
    With ``fold=False``, the count before folding."""
    return _Analysis(cascade, streams).run(fold)


class _Analysis:
    def __init__(self, cascade: Cascade, streams: Mapping[str, frozenset[str]]) -> None:
        self._streams = streams
        self._definitions = Definitions(cascade)
        self._presence = Presence(cascade)
        self._kinds = Kinds(cascade)
        self._flow = Dataflow(cascade, frozenset(t for t, indices in streams.items() if indices))
        positions = {s.target: k for k, s in enumerate(cascade.statements)}
        self._targets = sorted(streams, key=positions.__getitem__)
        self._level: dict[str, int] = {}

    def run(self, fold: bool) -> PassAnalysis:
        """Level by level, in the order of the statements."""
        folds: dict[str, Fold] = {}
        breaks: list[Break] = []
        for target in self._targets:
            parts = self._contributions(target)
            needs = self._flow.needs(target)
            latest = max((self._level[n.result] for n in needs), default=0)
            unfinished = tuple(n for n in needs if self._level[n.result] == latest)
            self._level[target] = latest
            if not unfinished or not self._streams[target]:
                continue
            if not fold:
                self._level[target] += 1
                continue
            try:
                found = self._fold(target, parts, unfinished)
            except Obstacle as obstacle:
                self._level[target] += 1
                breaks.append(_break(target, unfinished, obstacle, parts[0].span))
                continue
            if found is not None:
                folds[target] = found
        order = tuple(sorted(self._targets, key=self._level.__getitem__))
        return PassAnalysis(dict(self._level), folds, tuple(breaks), order)

    def _contributions(self, target: str) -> tuple[Einsum, ...]:
        return tuple(s for s in self._definitions.of(target) if isinstance(s, Einsum))

    def _fold(self, target: str, parts: tuple[Einsum, ...], needs: tuple[Need, ...]) -> Fold | None:
        if self._definitions.cascade.sending(target) is not None:
            raise Obstacle("what has been sent to its place cannot be corrected")
        for need in needs:
            if need.obstacle is not None:
                raise Obstacle(need.obstacle)
        results = tuple(n.result for n in needs)
        bodies = tuple(self._body(part, frozenset(results)) for part in parts)
        for part in parts:
            self._require_present(part, results)
        found = correction(parts[0].reduce, bodies, frozenset(results), self._is_positive)
        if found.expr is None:
            return None
        endless = tuple(r for r in results if self._may_end_at_identity(r))
        for result in endless:
            for part, body in zip(parts, bodies, strict=True):
                self._require_nothing(part, body, result, frozenset(results), found.kind)
        resting = tuple(r for r in results if self._rests(r))
        return Fold(target, results, found.kind, found.expr, resting, endless)

    def _is_positive(self, expr: Expr) -> bool:
        return is_positive(expr, self._definitions)

    def _rests(self, result: str) -> bool:
        """Whether a result at its identity has met nothing that counts: an extremum by what has been proved;
        a sum only where all it adds is positive, since others cancel."""
        parts = self._contributions(result)
        return _direction(parts[0]) != 0 or all(self._is_positive(p.body) for p in parts)

    def _may_end_at_identity(self, result: str) -> bool:
        """Whether an extremum of elements may be the infinity it began with."""
        parts = self._contributions(result)
        if _direction(parts[0]) == 0:
            return False
        finite = [self._is_finite(p) for p in parts]
        at_once = (
            not p.over and p.where is None and is_finite for p, is_finite in zip(parts, finite, strict=True)
        )
        return not all(finite) and not any(at_once)

    def _is_finite(self, part: Einsum) -> bool:
        """Whether a contribution to an extremum is never the extremum's identity."""
        if isinstance(part.body, Const):
            return isfinite(part.body.value)
        above = _direction(part) > 0 and self._is_positive(part.body)
        return above or self._kinds.of(part.body) is not Kind.REAL

    def _require_nothing(
        self, part: Einsum, body: Body, result: str, results: frozenset[str], kind: FoldKind
    ) -> None:
        """An element adds nothing while the extremum is still at its identity."""
        if result not in self._flow.reaches(part):
            return
        extremum = self._contributions(result)[0]
        falls = _direction(extremum) > 0
        if kind == "difference":
            falls = falls == (_direction(part) > 0)
        for earlier in self._contributions(result):
            if self._accompanies(earlier, result, part) and vanishes(
                body,
                self._flow.filled_in(earlier.body, results),
                results,
                1 if falls else -1,
                self._definitions,
                exponents=kind == "ratio",
            ):
                return
        assert extremum.reduce is not None
        raise Obstacle(f"its elements may count where {result} is still {extremum.reduce.rule.identity}")

    def _body(self, part: Einsum, results: frozenset[str]) -> Body:
        guards = self._flow.guards(part, results)
        if guards:
            raise Obstacle("its guard depends on a value that is not final yet", guards[0])
        return Body(self._flow.filled_in(part.body, results), frozenset(part.over))

    def _require_present(self, part: Einsum, results: tuple[str, ...]) -> None:
        """Every element must find the earlier results it reads: each has met an element at that place, or
        something before the loops."""
        used = self._flow.reaches(part)
        for result in results:
            if result not in used:
                continue
            if set(self._definitions.dims(result)) & set(part.over):
                raise Obstacle(f"it reads {result} of other rows")
            if not any(self._accompanies(r, result, part) for r in self._contributions(result)):
                raise Obstacle(f"it has elements where {result} may not exist yet")

    def _accompanies(self, earlier: Einsum, result: str, part: Einsum) -> bool:
        mine = set(part.over) & self._streams[part.target]
        theirs = set(earlier.over) & self._streams[result]
        together = not earlier.over or (mine == theirs and set(earlier.over) <= set(part.over))
        return together and self._presence.implies(part, earlier)


def _break(target: str, needs: tuple[Need, ...], obstacle: Obstacle, span: Span | None) -> Break:
    from attn_dsl.ir.printer import print_expr

    reason = obstacle.why
    if obstacle.culprit is not None:
        reason += f": {print_expr(obstacle.culprit)}"
    return Break(target, tuple(n.result for n in needs), reason, span)


__all__ = ["NEW", "OLD", "Break", "Fold", "PassAnalysis", "analyse_passes"]


def _direction(part: Einsum) -> int:
    """1 of a maximum, -1 of a minimum."""
    return 0 if part.reduce is None else part.reduce.rule.direction
