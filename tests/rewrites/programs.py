"""Random small programs over rows i, keys j and features e: what rewrites must keep the meaning of."""

from __future__ import annotations

from hypothesis import strategies as st

HEADER = """attention random_program
input A[i, j], B[i, j], V[j, e], r[i], c[j], k
"""
SIZES = {"i": 3, "j": 4, "e": 2}
GUARDS = ("", "", "", " where j <= i", " where j < i", " where A[i,j] > B[i,j]", " where r[i] > 0")
ROW_OPERATORS = ("+=", "+=", "+=", "mean=", "max=", "max=", "min=")


def _leaf(draw: st.DrawFn, pairs: list[str], rows: list[str]) -> str:
    tensor = draw(st.sampled_from([*pairs, *rows, *rows, "c", "k", "2", "0.5", "(i - j)"]))
    return tensor + ("[i,j]" if tensor in pairs else "[i]" if tensor in rows else "[j]" * (tensor == "c"))


def _expression(draw: st.DrawFn, pairs: list[str], rows: list[str], depth: int) -> str:
    if depth == 0:
        return _leaf(draw, pairs, rows)
    form = draw(
        st.sampled_from(["{} + {}", "{} - {}", "{} * {}", "{} * {}", "{} / ({})", "exp({})", "tanh({})"])
    )
    form = draw(st.sampled_from([form, form, form, "-({})", "detach({})", "exp({} - {})", "default({}, 0)"]))
    parts = [_expression(draw, pairs, rows, draw(st.integers(0, depth - 1))) for _ in range(form.count("{}"))]
    return f"({form.format(*parts)})"


@st.composite
def programs(draw: st.DrawFn) -> str:
    """A legal text: a few pair and row tensors, each built on earlier ones, and a sum over V at the end."""
    pairs, rows, lines = ["A", "B"], ["r"], [HEADER]
    for number in range(draw(st.integers(2, 6))):
        body = _expression(draw, pairs, rows, draw(st.integers(1, 3)))
        guard = draw(st.sampled_from(GUARDS))
        if draw(st.booleans()):
            lines.append(f"P{number}[i,j] = {body}{guard}")
            pairs += [f"P{number}"] * 2
            continue
        operator = draw(st.sampled_from(ROW_OPERATORS))
        lines.append(f"R{number}[i] {operator} {body}{guard}")
        if draw(st.integers(0, 3)) == 0:
            more = _expression(draw, pairs, rows, 2)
            lines.append(f"R{number}[i] {operator} {more}{draw(st.sampled_from(GUARDS))}")
        rows += [f"R{number}"] * 2
    weight = _expression(draw, pairs, rows, 2)
    lines.append(f"O[i,e] += {weight} * V[j,e]{draw(st.sampled_from(GUARDS))}")
    lines.append(f"Z[i] = {draw(st.sampled_from(rows))}[i] * 2")
    return "\n".join([*lines, "output O[i, e]", "output Z[i]"])
