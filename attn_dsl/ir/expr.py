"""Scalar expressions: what stands on the right of a statement, after functions are inlined.

    Expr ::= Const | ParamRef | SizeOf | IndexVar | Read | Op | Select | Default | Member | Cast | Detach

Nodes are immutable, compare by structure, and carry the source span they came from, which takes no
part in equality or hashing. An expression denotes a partial value: it may be *absent* (design, §2).

What is shared stays shared: a node keeps its hash, and is compared by it first, so that a table of
expressions costs one step for each and not one for each term.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, dataclass_transform

_T = TypeVar("_T", bound=type[Any])


class _Hashed:
    """Where a node keeps its hash; it is no field, so that no copy of the node in another process has it."""

    __slots__ = ("_hash",)
    _hash: int


@dataclass_transform(frozen_default=True)
def _node(cls: _T) -> _T:
    """A frozen dataclass whose hash is found once."""
    made: Any = dataclass(frozen=True, slots=True)(cls)
    structural, same = made.__hash__, made.__eq__

    def __hash__(self: Any) -> int:
        try:
            return self._hash
        except AttributeError:
            object.__setattr__(self, "_hash", structural(self))
            return self._hash

    def __eq__(self: Any, other: object) -> bool:
        if self is other:
            return True
        return self.__class__ is other.__class__ and hash(self) == hash(other) and same(self, other)

    made.__hash__, made.__eq__ = __hash__, __eq__
    return made


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of source text: 1-based lines and columns, the end exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Const:
    """A literal: an integer, a real (``inf`` included) or a truth value."""

    value: int | float | bool
    span: Span | None = field(default=None, compare=False, repr=False)

    def __eq__(self, other: object) -> bool:  # 1, 1.0 and True are three constants
        return (
            isinstance(other, Const)
            and type(self.value) is type(other.value)
            and repr(self.value) == repr(other.value)
        )

    def __hash__(self) -> int:
        return hash((type(self.value).__name__, repr(self.value)))


@_node
class ParamRef(_Hashed):
    """A constant of the operator, given to ``compile``."""

    name: str
    span: Span | None = field(default=None, compare=False, repr=False)


@_node
class SizeOf(_Hashed):
    """``size(i)``: the extent of an index, an integer known at call time."""

    index: str
    span: Span | None = field(default=None, compare=False, repr=False)


@_node
class IndexVar(_Hashed):
    """The integer value of an index."""

    name: str
    span: Span | None = field(default=None, compare=False, repr=False)


@_node
class Read(_Hashed):
    """``T[e0, e1, ...]``: one expression a slot; a composite dimension takes one slot a member.

    Outside the tensor's bounds, or where the tensor itself is absent, the read is absent.
    """

    tensor: str
    indices: tuple[Expr, ...]
    span: Span | None = field(default=None, compare=False, repr=False)


@_node
class Op(_Hashed):
    """An operator or function of ``operators.OPERATORS`` applied to its arguments."""

    name: str
    args: tuple[Expr, ...]
    span: Span | None = field(default=None, compare=False, repr=False)


@_node
class Select(_Hashed):
    """``then if condition else otherwise``: needs only the side it takes."""

    condition: Expr
    then: Expr
    otherwise: Expr
    span: Span | None = field(default=None, compare=False, repr=False)


@_node
class Default(_Hashed):
    """``default(value, fallback)``: the fallback where the value is absent."""

    value: Expr
    fallback: Expr
    span: Span | None = field(default=None, compare=False, repr=False)


@_node
class Member(_Hashed):
    """``element in T[b, i, :]``: whether the element stands among the entries along the ``:`` slot (None)."""

    element: Expr
    tensor: str
    indices: tuple[Expr | None, ...]
    span: Span | None = field(default=None, compare=False, repr=False)


@_node
class Cast(_Hashed):
    """``f32(x)``: conversion to a named dtype."""

    dtype: str
    value: Expr
    span: Span | None = field(default=None, compare=False, repr=False)


@_node
class Detach(_Hashed):
    """``detach(x)``: x, through which no gradient flows."""

    value: Expr
    span: Span | None = field(default=None, compare=False, repr=False)


Expr: TypeAlias = Const | ParamRef | SizeOf | IndexVar | Read | Op | Select | Default | Member | Cast | Detach
