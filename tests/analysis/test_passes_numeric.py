"""Corrections are right by numbers: an accumulator that follows equals the sum over the final results."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from attn_dsl.ir.expr import Const, Detach, Expr, Op, Read
from tests.analysis.test_passes import over_keys, rows

LEAVES = ("x[i,j]", "y[i,j]", "c[j]", "r[i]", "m[i]", "m[i]", "u[i]", "2")
FORMS = ("{} + {}", "{} - {}", "{} * {}", "{} * {}", "{} / {}", "-{}", "exp({})", "exp({} - {})", "tanh({})")
COMPUTE: Mapping[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "exp": math.exp,
    "exp2": lambda a: 2**a,
    "tanh": math.tanh,
}


@st.composite
def bodies(draw: st.DrawFn, depth: int = 3) -> str:
    """A random body over streamed values, row values and the two earlier results m and u."""
    if depth == 0:
        return draw(st.sampled_from(LEAVES))
    form = draw(st.sampled_from(FORMS))
    parts = [draw(bodies(draw(st.integers(0, depth - 1)))) for _ in range(form.count("{}"))]
    return f"({form.format(*parts)})"


def value(expr: Expr, tensors: Mapping[str, float]) -> float:
    """The value where every tensor has one value."""
    match expr:
        case Const(value=number):
            return float(number)
        case Read(tensor=tensor):
            return tensors[tensor]
        case Detach(value=inner):
            return value(inner, tensors)
        case Op(name=name, args=args):
            return COMPUTE[name](*(value(a, tensors) for a in args))
        case _:
            raise AssertionError(expr)


@settings(max_examples=150, deadline=None)
@given(bodies(), st.sampled_from(["+=", "max="]), st.integers(0, 2**31))
def test_a_correction_turns_old_bodies_into_new_ones(body: str, operator: str, seed: int) -> None:
    cascade = rows(f"m[i] max= x[i,j]\nu[i] += exp(y[i,j])\na[i] {operator} {body} + x[i,j] * 0")
    fold = over_keys(cascade).folds.get("a")
    if fold is None:
        return
    statement = cascade.definitions("a")[0]
    number = random.Random(seed)
    for _ in range(5):
        streamed = {t: number.uniform(-2, 2) for t in "xycr"}
        old = {"m": number.uniform(-2, 2), "u": number.uniform(0.1, 3)}
        new = {"m": number.uniform(-2, 2), "u": number.uniform(0.1, 3)}
        states = {f"old:{t}": v for t, v in old.items()} | {f"new:{t}": v for t, v in new.items()}
        try:
            before, after = (value(statement.body, {**streamed, **state}) for state in (old, new))
            change = value(fold.correction, {"r": streamed["r"], **states})
        except (OverflowError, ZeroDivisionError):
            continue
        corrected = before * change if fold.kind == "ratio" else before + change
        assert math.isclose(corrected, after, rel_tol=1e-6, abs_tol=1e-6 * max(1, abs(before), abs(change)))
