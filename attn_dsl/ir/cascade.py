"""The cascade: the one representation every stage works on.

    Cascade   ::= name, params, indices, inputs, statements, outputs, masks
    Statement ::= Einsum | Ranking
    Einsum    ::= target[keys] (reduce)= body where guard       reduce absent: pointwise
    Ranking   ::= target[dims] = topk | topp | argsort | argmax [over](body, k) where guard

A composite dimension ``(g r)`` is two indices everywhere but in the layout of an input or output, where
``Axis`` keeps them together. A tensor that several reductions with one operator define is their sum
(product, maximum, ...): its statements share target, dims and reduce.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from typing import Any

from attn_dsl.ir.expr import Expr, IndexVar, Span
from attn_dsl.ir.reductions import Reduction


class RankingKind(StrEnum):
    """Statements that compare the elements along an index with one another."""

    TOPK = "topk"
    TOPP = "topp"
    ARGSORT = "argsort"
    ARGMAX = "argmax"


@dataclass(frozen=True, slots=True)
class Param:
    """``param name: kind = default``; kind is int, float or bool."""

    name: str
    kind: str
    default: int | float | bool | None
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Index:
    """An index. ``size`` is None where an input dimension gives the extent. ``limit`` is a data-dependent
    extent (``index j < length[b]``): elements with ``j >= limit`` do not exist."""

    name: str
    size: Expr | None = None
    limit: Expr | None = None
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of an argument's or result's layout: the indices it is composed of, row-major.

    A dimension that binds no index in the text (``_``, ``4`` or ``block``) has one index of its own, named
    ``anonymous_index(tensor, position)``, declared with its size where that is fixed. ``name``: the name of a
    composite, ``h=(g r)``.
    """

    indices: tuple[str, ...]
    name: str | None = None


def anonymous_index(tensor: str, position: int) -> str:
    """The name of the index of an unnamed dimension; no index of a user's can begin with an underscore."""
    return f"_{tensor}_{position}"


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor argument. ``dtype`` None: any floating type."""

    name: str
    axes: tuple[Axis, ...]
    dtype: str | None = None
    span: Span | None = field(default=None, compare=False, repr=False)

    @property
    def dims(self) -> tuple[str, ...]:
        """The index of each slot of a ``Read``, composites split into their members."""
        return tuple(index for axis in self.axes for index in axis.indices)


@dataclass(frozen=True, slots=True)
class Output:
    """A result, laid out by ``axes``. ``dtype`` None: the floating inputs' own."""

    name: str
    axes: tuple[Axis, ...]
    dtype: str | None = None
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Mask:
    """A named predicate, kept for reports; statements have it inlined."""

    name: str
    predicate: Expr
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Einsum:
    """One statement. ``dims`` are the target's own indices, ``keys`` the expression written in each slot
    (``IndexVar(dim)`` but for a keyed reduction); ``over`` the reduced indices, in order of appearance."""

    target: str
    dims: tuple[str, ...]
    keys: tuple[Expr, ...]
    reduce: Reduction | None
    over: tuple[str, ...]
    body: Expr
    where: Expr | None = None
    span: Span | None = field(default=None, compare=False, repr=False)

    @property
    def is_keyed(self) -> bool:
        """Whether an element is sent to a computed place."""
        return any(key != IndexVar(dim) for key, dim in zip(self.keys, self.dims, strict=True))


@dataclass(frozen=True, slots=True)
class Ranking:
    """``target[dims] = kind[over](body, count) where guard``; argmax drops ``over`` from dims."""

    target: str
    dims: tuple[str, ...]
    kind: RankingKind
    over: str
    body: Expr
    count: Expr | None = None
    where: Expr | None = None
    span: Span | None = field(default=None, compare=False, repr=False)


Statement = Einsum | Ranking


@dataclass(frozen=True, slots=True)
class Sending:
    """Where the elements of a statement go, which is known only as they are computed: to ``tensor``, over
    ``dims``, at the places ``keys``, expressions in the statement's indices. What meets at a place is added
    up."""

    statement: str
    tensor: str
    dims: tuple[str, ...]
    keys: tuple[Expr, ...]


@dataclass(frozen=True)
class Cascade:
    """A whole mechanism: resolved, functions inlined, statements in an order where definitions come first.

    ``saved``: computed tensors whose values are given, by an earlier pass that stored them. Their statements
    say what they mean and where they exist; they are not evaluated again. ``present:T`` among them: whether T
    exists is given too. ``sendings``: where kernels send what keyed reductions sum; before code generation
    these are statements. ``parted``: partial results, which kernels store.
    """

    name: str
    params: tuple[Param, ...]
    indices: tuple[Index, ...]
    inputs: tuple[Input, ...]
    statements: tuple[Statement, ...]
    outputs: tuple[Output, ...]
    masks: tuple[Mask, ...] = ()
    saved: tuple[str, ...] = ()
    sendings: tuple[Sending, ...] = ()
    parted: tuple[str, ...] = ()

    @cached_property
    def known(self) -> dict[Any, Any]:
        """What analyses have found out about this very cascade, each under a name of its own; no part of its
        value."""
        return {}

    @cached_property
    def _inputs(self) -> dict[str, Input]:
        return {i.name: i for i in reversed(self.inputs)}

    @cached_property
    def _indices(self) -> dict[str, Index]:
        return {i.name: i for i in reversed(self.indices)}

    @cached_property
    def _definitions(self) -> dict[str, tuple[Statement, ...]]:
        table: dict[str, list[Statement]] = {}
        for statement in self.statements:
            table.setdefault(statement.target, []).append(statement)
        return {target: tuple(parts) for target, parts in table.items()}

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what is known is found again."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def sending(self, statement: str) -> Sending | None:
        """Where a statement's elements are sent, if they are."""
        return next((s for s in self.sendings if s.statement == statement), None)

    def input(self, name: str) -> Input | None:
        """The input of that name, or None for a computed tensor."""
        return self._inputs.get(name)

    def declares(self, name: str) -> bool:
        """Whether an index of that name is declared."""
        return name in self._indices

    def index(self, name: str) -> Index:
        """The declaration of an index. KeyError where there is none."""
        return self._indices[name]

    def definitions(self, tensor: str) -> tuple[Statement, ...]:
        """The statements that define a computed tensor, in order; empty for an input."""
        return self._definitions.get(tensor, ())
