"""How the targets spell dtypes and functions of the language: a name, or a text with places for its
arguments.

A function that has no row here is compiled by its ``formula``. Names with ``_`` in front are device functions
that a Triton module carries with it (``triton/functions.py``); those of C++ are in
``templates/cpu/functions.h``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spelling:
    """One function in each target."""

    triton: str
    cpp: str


@dataclass(frozen=True, slots=True)
class DtypeSpelling:
    """One dtype in each target. ``pointee``: what Triton calls it where a pointer is declared; ``value``: the
    type C++ computes with; ``memory``: that of its elements."""

    triton: str
    pointee: str
    value: str
    memory: str


DTYPES: dict[str, DtypeSpelling] = {
    "i8": DtypeSpelling("tl.int8", "i8", "int32_t", "int8_t"),
    "i16": DtypeSpelling("tl.int16", "i16", "int32_t", "int16_t"),
    "i32": DtypeSpelling("tl.int32", "i32", "int32_t", "int32_t"),
    "i64": DtypeSpelling("tl.int64", "i64", "int64_t", "int64_t"),
    "u8": DtypeSpelling("tl.uint8", "u8", "int32_t", "uint8_t"),
    "bool": DtypeSpelling("tl.int1", "i1", "bool", "uint8_t"),
    "f16": DtypeSpelling("tl.float16", "fp16", "float", "uint16_t"),
    "bf16": DtypeSpelling("tl.bfloat16", "bf16", "float", "uint16_t"),
    "f32": DtypeSpelling("tl.float32", "fp32", "float", "float"),
    "f64": DtypeSpelling("tl.float64", "fp64", "double", "double"),
}
FUNCTIONS: dict[str, Spelling] = {
    "abs": Spelling("tl.abs", "attn::abs_"),
    "floor": Spelling("tl.floor", "attn::floor_"),
    "sqrt": Spelling("tl.sqrt", "attn::sqrt_"),
    "rsqrt": Spelling("tl.rsqrt", "attn::rsqrt_"),
    "exp": Spelling("tl.exp", "attn::exp_"),
    "exp2": Spelling("tl.exp2", "attn::exp2_"),
    "expm1": Spelling("_expm1", "attn::expm1_"),
    "log": Spelling("tl.log", "attn::log_"),
    "log2": Spelling("tl.log2", "attn::log2_"),
    "log1p": Spelling("_log1p", "attn::log1p_"),
    "sin": Spelling("tl.sin", "attn::sin_"),
    "cos": Spelling("tl.cos", "attn::cos_"),
    "tan": Spelling("(tl.sin({0}) / tl.cos({0}))", "attn::tan_"),
    "tanh": Spelling("_tanh", "attn::tanh_"),
    "sigmoid": Spelling("_sigmoid", "attn::sigmoid_"),
    "softplus": Spelling("_softplus", "attn::softplus_"),
    "silu": Spelling("({0} * _sigmoid({0}))", "attn::silu_"),
    "gelu": Spelling("(0.5 * {0} * (1 + tl.erf({0} * 0.7071067811865476)))", "attn::gelu_"),
    "erf": Spelling("tl.erf", "attn::erf_"),
    "uniform": Spelling("_uniform", "attn::uniform_"),
    # Shifts by any number of bits, also by more than there are.
    "any_shl": Spelling("_shift_left", "attn::shift_left"),
    "any_shr": Spelling("_shift_right", "attn::shift_right"),
}
# Their text depends on the types: each printer has their rules.
_OF_ANY_TYPE = frozenset({"min", "max", "clamp", "relu"})


@dataclass(frozen=True, slots=True)
class Combination:
    """How an operator reduces. ``triton``: a tile along an axis; ``triton_whole``: the same of integers and
    truth values, where that is another; ``cpp``: two values."""

    triton: str
    cpp: str
    triton_whole: str | None = None


COMBINATIONS: dict[str, Combination] = {
    "add": Combination("tl.sum({0}, {1})", "{0} + {1}"),
    "mul": Combination("tl.reduce({0}, {1}, _multiply)", "{0} * {1}"),
    "max": Combination("_greatest({0}, {1})", "attn::maximum({0}, {1})", "tl.max({0}, {1})"),
    "min": Combination("_least({0}, {1})", "attn::minimum({0}, {1})", "tl.min({0}, {1})"),
    "or": Combination("(tl.max({0}.to(tl.int32), {1}) != 0)", "{0} | {1}"),
    "and": Combination("(tl.min({0}.to(tl.int32), {1}) != 0)", "{0} & {1}"),
}


def is_spelt(function: str) -> bool:
    """Whether the targets have a word for a function."""
    return function in FUNCTIONS or function in _OF_ANY_TYPE


def spelt(spelling: str, arguments: list[str]) -> str:
    """A call of the function."""
    return spelling.format(*arguments) if "{" in spelling else f"{spelling}({', '.join(arguments)})"
