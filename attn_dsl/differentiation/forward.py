"""Forward mode: from a cascade to the cascade of its tangents.

Every statement is followed by that of its target's tangent, the derivative of its body along those of what it
reads:

    Z[zd] += f(T[slots], ...)      gives      t_Z[zd] += ∂f/∂T * t_T[slots]      summed over the reads

A tangent exists where its tensor does, and stands at the same places; so reads at computed places and keyed
reductions need no rule of their own. The slopes are those of reverse mode.

(Griewank and Walther, "Evaluating Derivatives", 2008, chapter 3.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from attn_dsl.analysis.logic import PRESENT, TRUE
from attn_dsl.analysis.presence import presence
from attn_dsl.differentiation.active import active_tensors, differentiable_inputs
from attn_dsl.differentiation.derivatives import by_zeros, factors, slopes
from attn_dsl.differentiation.local import scaled
from attn_dsl.differentiation.saved import presences_read, without_saved
from attn_dsl.ir.cascade import Cascade, Einsum, Input, Output, Reduction, Statement
from attn_dsl.ir.dtypes import Kind, dtype_kind
from attn_dsl.ir.expr import Cast, Default, Expr, Op, Read, Select
from attn_dsl.ir.slopes import ONE, ZERO, div, mul, sub
from attn_dsl.ir.validate import validated
from attn_dsl.ir.walk import walk
from attn_dsl.planning.binding import means_as_sums
from attn_dsl.rewrites import normal_form
from attn_dsl.rewrites.dead_statements import dead_statements
from attn_dsl.rewrites.definitions import fresh_name, whole_read


@dataclass(frozen=True, slots=True)
class Tangent:
    """The tangents of a cascade's outputs along those of inputs.

    ``cascade``: gives the outputs, then their tangents, from the inputs, then their tangents. ``seeds``:
    input -> the input that is its tangent; ``tangents``: output -> the output that is its tangent, for those
    that have one.
    """

    cascade: Cascade
    seeds: dict[str, str]
    tangents: dict[str, str]


def tangent(cascade: Cascade, wanted: Iterable[str] | None = None) -> Tangent:
    """The tangent along the inputs ``wanted`` (default: all floating ones), those of others being zero.

    What the cascade has saved is read where its values are needed, and its tangent is computed; nothing is
    saved in the result where that asks for more than is given.
    """
    forward = means_as_sums(normal_form(cascade))
    names = tuple(differentiable_inputs(forward) if wanted is None else wanted)
    found = _Forward(forward, names).run()
    asked = presences_read(found.cascade, forward.saved) if forward.saved else ()
    if all(PRESENT + t in forward.saved for t, _ in asked):
        return found
    return _Forward(without_saved(forward), names).run()


class _Forward:
    def __init__(self, forward: Cascade, wanted: tuple[str, ...]) -> None:
        self._forward = forward
        self._wanted = wanted
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()
        active = active_tensors(forward, frozenset(wanted))
        for tensor in (*wanted, *dict.fromkeys(s.target for s in forward.statements)):
            if tensor in active:
                self._names[tensor] = self._fresh(f"t_{tensor}")

    def run(self) -> Tangent:
        """Statement by statement, each tensor's tangent after its last."""
        forward, names = self._forward, self._names
        last = {s.target: at for at, s in enumerate(forward.statements)}
        statements: list[Statement] = []
        for at, statement in enumerate(forward.statements):
            statements.append(statement)
            if at == last[statement.target] and statement.target in names:
                parts = [s for s in forward.definitions(statement.target) if isinstance(s, Einsum)]
                statements += self._defined(parts)
        seeds = {n: names[n] for n in self._wanted}
        declared = (forward.input(n) for n in self._wanted)
        inputs = [Input(seeds[i.name], i.axes, i.dtype) for i in declared if i is not None]
        results = [o for o in forward.outputs if o.name in names and o.name not in forward.saved]
        cascade = replace(
            forward,
            name=f"{forward.name}_tangent",
            inputs=(*forward.inputs, *inputs),
            statements=tuple(statements),
            outputs=(*forward.outputs, *(Output(names[o.name], o.axes, o.dtype) for o in results)),
        )
        return Tangent(validated(dead_statements(cascade)), seeds, {o.name: names[o.name] for o in results})

    def _defined(self, parts: list[Einsum]) -> Iterator[Statement]:
        """The statements that define the tangent of the tensor which ``parts`` define."""
        name = self._names[parts[0].target]
        match parts[0].reduce:
            case Reduction.MAX | Reduction.MIN:
                yield from self._extremum(name, parts)
            case Reduction.PRODUCT:
                yield from self._product(name, parts)
            case Reduction.SUM | Reduction.MEAN | None:
                yield from (self._along(p, name, self._of_body(p)) for p in parts)
            case Reduction.ANY | Reduction.ALL:
                raise AssertionError("truth values have no tangent")

    def _along(self, part: Einsum, name: str, body: Expr, reduce: Reduction | None = None) -> Einsum:
        """A statement over the elements of another: with another body, which exists where the other's
        does."""
        where = part.where
        if not self._exists_alike(body, part):
            exists = Op("present", (part.body,))
            where = exists if where is None else Op("and", (where, exists))
        return replace(part, target=name, reduce=reduce or part.reduce, body=body, where=where)

    def _exists_alike(self, body: Expr, part: Einsum) -> bool:
        """Whether the body reads all that the statement's own needs, or what that defines."""
        met = {n for n in walk(body) if isinstance(n, Read)}
        return Read(part.target, part.keys) in met or all(
            node in met or self._along_read(node) in met or presence(node, self._forward) == TRUE
            for node in walk(part.body)
            if isinstance(node, Read)
        )

    def _extremum(self, name: str, parts: list[Einsum]) -> Iterator[Statement]:
        """The mean over the elements that equal the extremum."""
        total, ties = self._fresh(f"{name}_total"), self._fresh(f"{parts[0].target}_ties")
        for part in parts:
            wins = Op("eq", (part.body, Read(part.target, part.keys)))
            among = replace(part, where=wins if part.where is None else Op("and", (part.where, wins)))
            yield self._along(among, total, self._of_body(part), Reduction.SUM)
            yield self._along(among, ties, ONE, Reduction.SUM)
        yield _pointwise(name, parts[0], div(*(whole_read(t, parts[0].dims) for t in (total, ties))))

    def _product(self, name: str, parts: list[Einsum]) -> Iterator[Statement]:
        """The product of the others times the tangent, summed over the elements: ``relative`` has those that
        are not 0, ``lifted`` those that are."""
        words = (*factors(parts[0].body), "relative", "lifted", "squared")
        names = {
            word: self._fresh(f"{parts[0].target if word in words[:3] else name}_{word}") for word in words
        }
        for part in parts:
            x, along = part.body, self._of_body(part)
            is_zero = Op("eq", (x, ZERO))
            bodies = {
                **factors(x),
                "relative": ("+", Select(is_zero, ZERO, div(along, x))),
                "lifted": ("+", Select(is_zero, along, ZERO)),
                "squared": ("+", Select(is_zero, mul(along, x), ZERO)),
            }
            for word, (kind, body) in bodies.items():
                yield self._along(part, names[word], body, Reduction(kind))
        rest, zeros, zero, relative, lifted, squared = (whole_read(n, parts[0].dims) for n in names.values())
        one = Op("add", (lifted, mul(zero, relative)))
        two = sub(mul(lifted, zero), squared)
        yield _pointwise(name, parts[0], mul(rest, by_zeros(zeros, relative, one, two)))

    # expressions

    def _of_body(self, part: Einsum) -> Expr:
        alone = part.reduce is None
        return self._of(part.body, whole_read(part.target, part.dims) if alone else part.body) or ZERO

    def _of(self, expr: Expr, value: Expr) -> Expr | None:
        """The tangent of an expression; None where it has none. ``value``: how its own value is best
        written."""
        match expr:
            case Read():
                return self._along_read(expr)
            case Op(args=args):
                along = [self._of(a, a) for a in args]
                if all(t is None for t in along):
                    return None
                found = zip(along, slopes(expr, value), strict=True)
                terms = [scaled(t, s) for t, s in found if t is not None and s is not None and s != ZERO]
                return _sum(terms) if terms else None
            case Select(condition=c, then=a, otherwise=b):
                return _choice(c, self._of(a, a), self._of(b, b))
            case Default(value=a, fallback=b):
                return _choice(Op("present", (a,)), self._of(a, a), self._of(b, b))
            case Cast(dtype=dtype, value=inner) if dtype_kind(dtype) is Kind.REAL:
                return self._of(inner, inner)
            case _:
                return None

    def _along_read(self, read: Read) -> Expr | None:
        name = self._names.get(read.tensor)
        return None if name is None else Read(name, read.indices, read.span)

    def _fresh(self, wanted: str) -> str:
        name = fresh_name(self._forward, wanted, self._taken)
        self._taken.add(name)
        return name


def _pointwise(name: str, like: Einsum, body: Expr) -> Einsum:
    keys = whole_read(name, like.dims).indices
    return Einsum(name, like.dims, keys, None, (), body, None, like.span)


def _choice(condition: Expr, then: Expr | None, otherwise: Expr | None) -> Expr | None:
    if then is None and otherwise is None:
        return None
    return Select(condition, then or ZERO, otherwise or ZERO)


def _sum(terms: list[Expr]) -> Expr:
    total = terms[0]
    for term in terms[1:]:
        total = Op("add", (total, term))
    return total
