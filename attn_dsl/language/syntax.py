"""The syntax tree: a file as it is written, before names mean anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from attn_dsl.ir.expr import Span


@dataclass(frozen=True, slots=True)
class Name:
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Number:
    value: int | float
    span: Span


@dataclass(frozen=True, slots=True)
class Subscript:
    """``T[e, ...]``; a slot of None is the ``:`` of a membership list."""

    name: str
    slots: tuple[Term | None, ...]
    span: Span
    name_span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """``f(x)`` and, with ``over``, the cascade function ``f[j](x)``."""

    name: str
    over: tuple[Term, ...] | None
    args: tuple[Term, ...]
    span: Span
    name_span: Span


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator of ``ir.operators``, a chained comparison already joined with ``and``."""

    name: str
    args: tuple[Term, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Conditional:
    condition: Term
    then: Term
    otherwise: Term
    span: Span


@dataclass(frozen=True, slots=True)
class Membership:
    element: Term
    members: Subscript
    span: Span


Term: TypeAlias = Name | Number | Subscript | Call | Operation | Conditional | Membership


@dataclass(frozen=True, slots=True)
class Dimension:
    """``i``, ``_``, ``4``, ``(g r)`` or ``h=(g r)``: names, or a size, or neither."""

    names: tuple[str, ...]
    group: bool
    alias: str | None
    size: int | None
    span: Span


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    dimensions: tuple[Dimension, ...]
    dtype: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class Attention:
    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Import:
    path: str
    span: Span


@dataclass(frozen=True, slots=True)
class ParamLine:
    name: str
    kind: str
    default: Term | None
    span: Span


@dataclass(frozen=True, slots=True)
class InputLine:
    tensors: tuple[Tensor, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class OutputLine:
    tensors: tuple[Tensor, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class IndexLine:
    name: str
    size: Term
    span: Span


@dataclass(frozen=True, slots=True)
class LetLine:
    name: str
    value: Term
    span: Span


@dataclass(frozen=True, slots=True)
class MaskLine:
    name: str
    predicate: Term
    span: Span


@dataclass(frozen=True, slots=True)
class Assignment:
    """``T[slots] op= body where guard``; operator is '' for '='."""

    target: str
    slots: tuple[Term, ...]
    operator: str
    body: Term
    where: Term | None
    span: Span
    operator_span: Span


@dataclass(frozen=True, slots=True)
class Return:
    value: Term
    span: Span


@dataclass(frozen=True, slots=True)
class ScalarDef:
    name: str
    parameters: tuple[str, ...]
    value: Term
    span: Span


@dataclass(frozen=True, slots=True)
class CascadeDef:
    name: str
    over: tuple[str, ...]
    parameters: tuple[str, ...]
    body: tuple[Assignment | Return, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Unread:
    """A statement that could not be read; ``names`` are those it may have defined."""

    names: frozenset[str]
    span: Span


Line: TypeAlias = (
    Attention | Import | ParamLine | InputLine | OutputLine | IndexLine | LetLine | MaskLine | Assignment
    | ScalarDef | CascadeDef | Unread
)  # fmt: skip
