"""Random functions of a score."""

from __future__ import annotations

from collections.abc import Callable

from attn_dsl.testing.random_names import Frame, per_head


def score(frame: Frame) -> str:
    """An expression over a query and a key that starts from their product S."""
    s = f"S[{frame.pair}]"
    x = frame.one_of(f"{s} / sqrt(size(d))", f"{s} * 0.3", f"{s} / sqrt(size(d))", s)
    for _ in range(frame.choices.number(0, 3)):
        x = frame.choices.among(_STEPS)(frame, x)
    return x


def _bias(f: Frame, x: str) -> str:
    bias = f.input("bias", f"{per_head(f)}, {_declared(f)}")
    if f.key == "u,v":
        return f"{x} + {bias}[{f.heads},x,y,u,v]"
    return f.one_of(
        f"{x} + {bias}[{f.heads},i,j]",
        f"{x} + default({bias}[{f.heads},i,j + 1], 0.5)",
        f"{x} * {bias}[{f.heads},i,j]",
    )


def _declared(f: Frame) -> str:
    return "(x y), (u v)" if f.key == "u,v" else "i, j"


def _distances(f: Frame, x: str) -> str:
    """A table by distance; beyond its end there is no bias, or no pair."""
    table = f.input("table", f"{per_head(f)}, _")
    place = f"abs({f.at_query} - {f.at_key})"
    read = f"{table}[{f.heads},{place}]"
    return f.one_of(f"{x} + default({read}, 0)", f"{x} + {read}", f"{x} * default({read}, 1.0)")


def _slope(f: Frame, x: str) -> str:
    slope = f.input("slope", per_head(f))
    return f"{x} - {slope}[{f.heads}] * abs({f.at_query} - {f.at_key})"


def _temperature(f: Frame, x: str) -> str:
    if f.choices.once_in(2):
        return f"({x}) / (1 + abs({f.input('tau', '')}))"
    gate = f.input("heat", f"b, {per_head(f)}, {'(x y)' if f.key == 'u,v' else 'i'}")
    return f"({x}) * sigmoid({gate}[{f.row}])"


def _squashed(f: Frame, x: str) -> str:
    return f.one_of(
        f"softcap({x}, 5.0)", f"3 * tanh({x})", f"clamp({x}, -2, 2)", f"({x}) / (1 + abs({x}))", f"min({x}, 1.5)",
        f"relu({x})", f"softplus({x})", f"silu({x})",
    )  # fmt: skip


def _conditional(f: Frame, x: str) -> str:
    i, j = f.at_query, f.at_key
    condition = f.one_of(
        f"({i} + {j}) % 3 != 0", f"{j} < {i}", f"S[{f.pair}] > 0", f"{i} - {j} < {f.number(1, 9)}"
    )
    other = f.one_of(f"0.5 * ({x})", "0.25", f"-({x})")
    return f"({x} if {condition} else {other})"


def _by_position(f: Frame, x: str) -> str:
    i, j = f.at_query, f.at_key
    return f.one_of(
        f"{x} + 0.1 * ({i} - {j})",
        f"({x}) * (1 + {j} % 3)",
        f"{x} + cos(0.5 * {i}) * 0.5",
        f"{x} - log(1 + {j})",
    )


_STEPS: tuple[Callable[[Frame, str], str], ...] = (
    _bias, _distances, _slope, _temperature, _squashed, _conditional, _by_position, _squashed,
)  # fmt: skip
