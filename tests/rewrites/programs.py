"""Random small programs over rows i, keys j and features e: what rewrites must keep the meaning of."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

HEADER = """attention random_program
input A[i, j], B[i, j], V[j, e], W[j, e], r[i], c[j], k
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


@dataclass(slots=True)
class _Program:
    """The text so far, with the names of the pair and row tensors it may build on."""

    lines: list[str] = field(default_factory=lambda: [HEADER])
    pairs: list[str] = field(default_factory=lambda: ["A", "B"])
    rows: list[str] = field(default_factory=lambda: ["r"])

    def expression(self, draw: st.DrawFn, depth: int) -> str:
        return _expression(draw, self.pairs, self.rows, depth)

    def pair(self, draw: st.DrawFn, number: int) -> None:
        body = self.expression(draw, draw(st.integers(1, 3)))
        self.lines.append(f"P{number}[i,j] = {body}{draw(st.sampled_from(GUARDS))}")
        self.pairs += [f"P{number}"] * 2

    def row(self, draw: st.DrawFn, number: int) -> None:
        operator = draw(st.sampled_from(ROW_OPERATORS))
        for _ in range(draw(st.sampled_from((1, 1, 1, 2)))):
            body = self.expression(draw, draw(st.integers(1, 3)))
            self.lines.append(f"R{number}[i] {operator} {body}{draw(st.sampled_from(GUARDS))}")
        self.rows += [f"R{number}"] * 2

    def softmax(self, draw: st.DrawFn, number: int) -> None:
        """Something with a stabiliser and a normaliser, sometimes under guards that do not agree."""
        score = self.expression(draw, draw(st.integers(0, 1)))
        score = score if "j" in score else "A[i,j]"
        first = draw(st.sampled_from(GUARDS))
        second = draw(st.sampled_from((first, first, first, *GUARDS)))
        self.lines += [
            f"R{number}[i] max= {score}{first}",
            f"P{number}[i,j] = exp({score} - detach(R{number}[i])){second}",
            f"L{number}[i] += P{number}[i,j]",
            f"N{number}[i,j] = P{number}[i,j] / L{number}[i]",
        ]
        self.pairs += [f"N{number}"] * 3 + [f"P{number}"]
        self.rows += [f"R{number}", f"L{number}"]


@st.composite
def programs(draw: st.DrawFn) -> str:
    """A legal text: a few pair and row tensors, each built on earlier ones, and a sum over V at the end."""
    program = _Program()
    for number in range(draw(st.integers(1, 5))):
        draw(st.sampled_from((program.pair, program.row, program.softmax)))(draw, number)
    guard = draw(st.sampled_from(GUARDS))
    body = f"{program.expression(draw, 2)} * V[j,e]"
    further = draw(st.sampled_from(("", "", "+", "-")))
    body += f" {further} {program.expression(draw, 1)} * W[j,e]" if further else ""
    program.lines.append(f"O[i,e] += {body}{guard}")
    program.lines.append(f"Z[i] = {draw(st.sampled_from(program.rows))}[i] * 2")
    return "\n".join([*program.lines, "output O[i, e]", "output Z[i]"])
