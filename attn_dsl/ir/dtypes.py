"""The types of elements: one row for each, with all that the stages ask of it.

A dtype is this row and how the targets spell it (``codegen/spelling.py``); a float that C++ has no type for
is turned into one by ``from_NAME``, ``to_NAME`` and ``round_NAME`` of ``templates/cpu/functions.h``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """What a value is, ordered so that the kind of a mixture is the greatest."""

    BOOLEAN = 0
    INTEGER = 1
    REAL = 2


@dataclass(frozen=True, slots=True)
class Dtype:
    """``bytes``: of an element in memory; ``torch``: torch's name; ``digits``: the significant bits of a
    real."""

    name: str
    kind: Kind
    bytes: int
    torch: str
    signed: bool = True
    digits: int = 0

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the greatest integer it holds."""
        match self.kind:
            case Kind.BOOLEAN:
                return 0, 1
            case Kind.INTEGER:
                bits = 8 * self.bytes - self.signed
                return -(2**bits) if self.signed else 0, 2**bits - 1
            case Kind.REAL:
                raise ValueError(f"'{self.name}' is no type of integers")


_ROWS = (
    Dtype("i8", Kind.INTEGER, 1, "int8"),
    Dtype("i16", Kind.INTEGER, 2, "int16"),
    Dtype("i32", Kind.INTEGER, 4, "int32"),
    Dtype("i64", Kind.INTEGER, 8, "int64"),
    Dtype("u8", Kind.INTEGER, 1, "uint8", signed=False),
    Dtype("bool", Kind.BOOLEAN, 1, "bool", signed=False),
    Dtype("f16", Kind.REAL, 2, "float16", digits=11),
    Dtype("bf16", Kind.REAL, 2, "bfloat16", digits=8),
    Dtype("f32", Kind.REAL, 4, "float32", digits=24),
    Dtype("f64", Kind.REAL, 8, "float64", digits=53),
)
DTYPES: dict[str, Dtype] = {row.name: row for row in _ROWS}
FLOATS: tuple[str, ...] = tuple(row.name for row in _ROWS if row.kind is Kind.REAL)


def dtype_kind(dtype: str | None) -> Kind:
    """The kind of a tensor's elements; of one that declares no dtype, real."""
    return Kind.REAL if dtype is None else DTYPES[dtype].kind


def is_float(dtype: str) -> bool:
    """Whether a dtype is a floating type."""
    return DTYPES[dtype].kind is Kind.REAL


def width(dtype: str) -> int:
    """Bytes of an element."""
    return DTYPES[dtype].bytes
