"""Random mechanisms, as text: what no example has thought of.

    specification(choices) -> text                  a whole file
    mechanism(choices) -> Mechanism                 with a schedule and the arguments of a call
    specifications()                                a hypothesis strategy of whole files

A product of queries and keys, a function of it, a predicate, weights from one or several passes, results and
what is made of them. Every part is chosen for itself, so that most combinations are new; all are legal by
construction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import strategies as st

from attn_dsl.codegen.schedule import Schedule
from attn_dsl.language.load import load_text
from attn_dsl.runtime.params import resolve_params
from attn_dsl.testing.choices import Choices
from attn_dsl.testing.mechanisms.frame import Frame, frame
from attn_dsl.testing.mechanisms.masks import guard
from attn_dsl.testing.mechanisms.names import other_names, renamed
from attn_dsl.testing.mechanisms.results import results, two_streams
from attn_dsl.testing.mechanisms.scores import product, score
from attn_dsl.testing.mechanisms.weights import weights
from attn_dsl.testing.strategies import Example, Limits, make_example

# Small, but of several tiles: a case shall take a tenth of a second.
SMALL = Limits(
    dtypes=("f32", "bf16", "f16"), longest=40, widest=24, work=1 << 16, gaps=True, extremes=True, repeats=True
)  # fmt: skip
SCHEDULES = (Schedule(16, 16), Schedule(32, 16), Schedule(), Schedule(16, 32))


@dataclass(frozen=True, slots=True)
class Mechanism:
    """A random mechanism and a call of it. ``params``: those that do not have their default."""

    text: str
    params: dict[str, int]
    schedule: Schedule
    example: Example

    def __str__(self) -> str:
        tiles = f"{self.schedule.row_tile or 'default'} x {self.schedule.stream_tile or 'default'}"
        params = "".join(f"\n{name:<9} {value}" for name, value in self.params.items())
        return f"{self.text}\n{self.example}{params}\ntiles     {tiles}"


def specification(choices: Choices) -> str:
    """The text of one random mechanism."""
    return _drawn(choices)[0]


def _drawn(choices: Choices) -> tuple[str, dict[str, int]]:
    """A text, and what its params are given beside their defaults; once in six under other names."""
    f = frame(choices)
    text = f.text(_statements(f))
    if not choices.once_in(6):
        return text, f.params
    names = other_names(choices, text, f.taken)
    return renamed(text, names), {names.get(n, n): value for n, value in f.params.items()}


def _statements(f: Frame) -> list[str]:
    """State all there is; the outputs."""
    s = product(f)
    x = f.define("X", f.pair, "=", score(f, s), guard(f, s))
    if f.choices.once_in(12):
        return two_streams(f, x)
    p = f.define("P", f.pair, "=", weights(f, x, s))
    outputs = results(f, x, p)
    if f.choices.once_in(12):  # nothing reads it
        f.tensor("spare", f.one_of(f.row, f.batch, ""), f.one_of("", "i32"))
    return outputs


@st.composite
def specifications(draw: st.DrawFn) -> str:
    """Texts of random mechanisms."""
    return specification(Choices(lambda n: draw(st.integers(0, n - 1))))


def mechanism(choices: Choices, limits: Limits = SMALL) -> Mechanism:
    """One random mechanism with the arguments of a call; of limits that let NaN and infinities in, a fifth
    have some."""
    text, params = _drawn(choices)
    schedule = choices.among(SCHEDULES)
    cascade = load_text(text).cascade
    limits = replace(limits, specials=choices.once_in(5) and limits.specials)
    return Mechanism(
        text, params, schedule, make_example(cascade, resolve_params(cascade, params), choices, limits)
    )
