"""Random real functions of one or more reals: every function of the language, arranged so that values of
ordinary size stay of ordinary size and no root or logarithm leaves its domain."""

from __future__ import annotations

from collections.abc import Sequence

from attn_dsl.ir.operators import OPERATORS
from attn_dsl.testing.choices import Choices

_UNARY = (
    *(o.sample for o in OPERATORS.values() if o.sample is not None),
    "-({x})", "0.5 * ({x})", "clamp({x}, -2, 2)", "softcap({x}, 5.0)", "({x}) ** 2", "min({x}, 1.5)", "max({x}, -1)",
    "f32({x})", "detach({x})", "f32(i32(clamp({x}, -9, 9)))", "f16(tanh({x}))",
    "min({x}, 0.5, 1)", "({x}) ** 3 / 9", "(1 + abs({x})) ** 0.5", "0.9 ** abs({x})",
)  # fmt: skip
_BINARY = (
    "{x} + {y}", "{x} - ({y})", "({x}) * ({y})", "({x}) / (1 + abs({y}))", "max({x}, {y})", "min({x}, {y})",
    "({x} if {x} > {y} else {y} / 2)", "({x} if {y} > 0 else 0.25)", "({x}) * sigmoid({y})",
    "clamp({x}, -abs({y}), abs({y}))",
)  # fmt: skip


def unary(choices: Choices, x: str) -> str:
    """A function of x."""
    return choices.among(_UNARY).format(x=x)


def term(choices: Choices, atoms: Sequence[str], depth: int) -> str:
    """An expression over some atoms."""
    kind = choices.number(0, 3) if depth else 0
    if kind == 0:
        return choices.among(atoms)
    x = term(choices, atoms, depth - 1)
    if kind == 1:
        return unary(choices, x)
    return choices.among(_BINARY).format(x=x, y=term(choices, atoms, depth - 1))
