"""Random cascades, as text, that are not attention: what no shape of softmax has a part in.

Any number of indices in any layout, a graph of statements that read one another, several extrema and
normalisers, reductions over what the graph has, scalar results, results of features alone, elements that are
absent. Every text is legal by construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from attn_dsl.language.load import load_text
from attn_dsl.runtime.params import resolve_params
from attn_dsl.testing.choices import Choices
from attn_dsl.testing.mechanisms import SCHEDULES, SMALL, Mechanism
from attn_dsl.testing.strategies import Limits, make_example

_NAMES: tuple[str, ...] = ("a", "b", "c", "i", "j", "n")
_REDUCTIONS = ("+=", "max=", "min=", "mean=", "+=")
_WRAPPED = (
    "{}",
    "tanh({})",
    "exp(min({}, 2))",
    "relu({})",
    "({} + 0.5)",
    "abs({})",
    "sigmoid({})",
    "({} if {i} % 2 == 0 else 0.25)",
    "default({}, 1)",
)


@dataclass(slots=True)
class _Graph:
    """A text under construction. ``tensors``: what can be read, inputs and results, with their indices."""

    choices: Choices
    indices: list[str]
    tensors: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    lines: list[str] = field(default_factory=list[str])
    read: set[str] = field(default_factory=set[str])

    def subset(self, of: list[str], most: int, least: int = 0) -> list[str]:
        """Some of the indices, in any order."""
        count = self.choices.number(min(least, len(of)), min(most, len(of)))
        return self.choices.shuffled(of)[:count]

    def value(self, recent: bool) -> str:
        """A read at its own indices, in something."""
        names = [*self.tensors][::-1] if recent else [*self.tensors]
        name = self.choices.among(names)
        self.read.add(name)
        dims = self.tensors[name]
        plain = f"{name}[{','.join(dims)}]" if dims else f"{name}[]"
        wrapped = self.choices.among(_WRAPPED)
        index = dims[0] if dims else None
        if "{i}" in wrapped and index is None:
            return plain
        return wrapped.format(plain, i=index) if "{i}" in wrapped else wrapped.format(plain)

    def named(self, text: str) -> list[str]:
        """The indices that stand in a text, in the order of all."""
        inside = "".join(c if c.isalnum() or c == "_" else " " for c in text).split()
        return [i for i in self.indices if i in inside]

    def condition(self, over: list[str]) -> str:
        """A predicate of some indices of a space."""
        if not over:
            return ""
        one, other = self.choices.among(over), self.choices.among(over)
        if one == other:
            return self.choices.among((f"{one} > 0", f"{one} % 2 == 0", f"{one} < 3", f"{one} != 1"))
        return self.choices.among(
            (f"{one} <= {other}", f"{one} - {other} < 3", f"{one} != {other}", f"{one} > {other} + 1")
        )

    def state(self, name: str) -> None:
        """One statement more, of one contribution or two."""
        body = self.value(recent=True)
        for _ in range(self.choices.number(0, 2)):
            body = f"{body} {self.choices.among(('*', '*', '+', '-'))} {self.value(recent=False)}"
        within = self.named(body)
        if within and self.choices.once_in(6):
            self._normalised(name, body, within)
            return
        kept = self.subset(within, 3)
        over = [i for i in within if i not in kept]
        reduce = self.choices.among(_REDUCTIONS) if over else "="
        guard = self.condition(within) if self.choices.once_in(3) else ""
        self._line(name, kept, reduce, body, guard)
        if reduce == "+=" and self.choices.once_in(5):
            further = self.value(recent=False)
            if set(self.named(further)) >= set(kept):
                self._line(name, kept, reduce, further, "")
        self.tensors[name] = tuple(kept)

    def _normalised(self, name: str, body: str, within: list[str]) -> None:
        along = self.choices.among(within)
        self._line(name, within, "=", f"softmax[{along}]({body})", "")
        self.tensors[name] = tuple(within)

    def _line(self, name: str, dims: list[str], reduce: str, body: str, guard: str) -> None:
        where = f"  where {guard}" if guard else ""
        self.lines.append(f"{name}[{','.join(dims)}] {reduce} {body}{where}")


def cascade_text(choices: Choices) -> str:
    """The text of one random cascade."""
    indices = list(_NAMES[: choices.number(2, len(_NAMES))])
    graph = _Graph(choices, indices)
    fixed = {i: choices.number(1, 9) for i in indices if choices.once_in(5)}
    declared: list[str] = []
    count = choices.number(2, 4)
    for at in range(count):
        dims = graph.subset(indices, 3, 1)
        if at == count - 1:  # every index is some input's
            missing = [i for i in indices if not any(i in d for d in graph.tensors.values())]
            dims = [*dims, *(i for i in missing if i not in dims)]
        name = f"X{at}"
        graph.tensors[name] = tuple(dims)
        declared.append(f"{name}[{', '.join(dims)}]")
    for at in range(choices.number(1, 6)):
        graph.state(f"T{at}")
    results = [n for n in graph.tensors if n.startswith("T")]
    outputs = [n for n in results if n not in graph.read] or results[-1:]
    lines = ["attention random", f"input {', '.join(declared)}"]
    lines += [f"index {i} < {size}" for i, size in fixed.items()]
    lines += [*graph.lines, *(f"output {n}[{','.join(graph.tensors[n])}]" for n in outputs)]
    return "\n".join(lines) + "\n"


def random_cascade(choices: Choices, limits: Limits = SMALL) -> Mechanism:
    """One random cascade with the arguments of a call."""
    text = cascade_text(choices)
    schedule = choices.among(SCHEDULES)
    cascade = load_text(text).cascade
    limits = replace(limits, specials=choices.once_in(5) and limits.specials)
    example = make_example(cascade, resolve_params(cascade, {}), choices, limits)
    return Mechanism(text, {}, schedule, example)
