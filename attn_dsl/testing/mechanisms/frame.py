"""The frame of a random mechanism: the indices of its rows and keys, and what it turns out to declare."""

from __future__ import annotations

from dataclasses import dataclass, field

from attn_dsl.testing.choices import Choices

# How indices that stand side by side are declared where they are one dimension.
COMPOSITES = {"g,r": "(g r)", "x,y": "(x y)", "u,v": "(u v)"}

# Values of integer params that a text cannot have as a default.
_EXTREMES = (4, 2**63 - 1, 0, -1, 2**31, 2**31 - 1, 2**32 + 2, -(2**31), 2**62)


def joined(*indices: str) -> str:
    """Indices as they stand between brackets; empty parts left out."""
    return ",".join(part for part in indices if part)


@dataclass(slots=True)
class Frame:
    """``lead``: the indices before a row's own, batch and heads; ``key_lead``: those of them that keys have
    too; ``query``, ``key``: of a row and of a key; ``at_query``, ``at_key``: their positions as expressions;
    ``params``: what a call gives those that have another value than their default."""

    choices: Choices
    lead: str
    key_lead: str
    query: str
    key: str
    at_query: str
    at_key: str
    inputs: dict[str, str] = field(default_factory=dict[str, str])
    heads: list[str] = field(default_factory=list[str])
    lines: list[str] = field(default_factory=list[str])
    taken: set[str] = field(default_factory=set[str])
    params: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def row(self) -> str:
        """The indices of a row of scores."""
        return joined(self.lead, self.query)

    @property
    def pair(self) -> str:
        """The indices of a score."""
        return joined(self.row, self.key)

    @property
    def key_row(self) -> str:
        """The indices of a key."""
        return joined(self.key_lead, self.key)

    @property
    def own_heads(self) -> str:
        """The head indices of a row, without the batch."""
        return self.lead.removeprefix("b").removeprefix(",")

    @property
    def batch(self) -> str:
        """``b``, or nothing where there is no batch."""
        return "b" if self.lead.startswith("b") else ""

    def fresh(self, base: str) -> str:
        """A name that nothing has yet."""
        name, n = base, 1
        while name in self.taken:
            n += 1
            name = f"{base}{n}"
        self.taken.add(name)
        return name

    def tensor(self, base: str, indices: str, dtype: str = "", read: str = "") -> str:
        """Declare an input over some indices (once) and read it there, or at ``read``."""
        dims = ", ".join(COMPOSITES.get(p, p) for p in _parts(indices))
        declared = (f"[{dims}]" if dims else "") + (f": {dtype}" if dtype else "")
        same = next(
            (n for n, d in self.inputs.items() if d == declared and n.rstrip("0123456789") == base), None
        )
        name = same or self.fresh(base)
        self.inputs[name] = declared
        return f"{name}[{read or indices}]" if indices else name

    def per_head(self, base: str, dtype: str = "") -> str:
        """A number for every head."""
        return self.tensor(base, self.own_heads, dtype)

    def define(self, base: str, indices: str, operator: str, body: str, guard: str = "") -> str:
        """State a tensor under a fresh name and read it at its own indices."""
        name = self.fresh(base)
        self.state(name, indices, operator, body, guard)
        return f"{name}[{indices}]" if indices else name

    def state(self, name: str, indices: str, operator: str, body: str, guard: str = "") -> None:
        """A statement, perhaps one of several of its tensor."""
        self.taken.add(name)
        left = f"{name}[{indices}]" if indices else name
        self.lines.append(f"{left} {operator} {body}" + (f"  where {guard}" if guard else ""))

    def index(self, name: str, size: str) -> None:
        """Declare an index with its size, once."""
        line = f"index {name} < {size}"
        if line not in self.heads:
            self.heads.append(line)

    def number(self, low: int, high: int) -> str:
        """A small integer: written out, as a param, or named."""
        value = self.choices.number(low, high)
        form = self.choices.number(0, 5)
        if form <= 3:
            return str(value)
        name = self.fresh("n")
        self.heads.append(f"param {name}: int = {value}" if form == 4 else f"let {name} = {value}")
        return name

    def extreme(self) -> str:
        """An integer param that is given a value near the ends of a width, or beyond what there is."""
        name = self.fresh("w")
        self.heads.append(f"param {name}: int = 4")
        self.params[name] = self.choices.among(_EXTREMES)
        return name

    def real(self, *values: float) -> str:
        """One of some reals: written out, or as a param."""
        value = self.choices.among(values)
        if not self.choices.once_in(4):
            return str(value)
        name = self.fresh("p")
        self.heads.append(f"param {name}: float = {value}")
        return name

    def one_of(self, *options: str) -> str:
        """One of several texts."""
        return self.choices.among(options)

    def text(self, outputs: list[str]) -> str:
        """The whole file."""
        inputs = ", ".join(f"{name}{declared}" for name, declared in self.inputs.items())
        declared = [line for line in self.heads if line.startswith(("param", "let", "def"))]
        sizes = [line for line in self.heads if line.startswith("index")]
        head = ["attention random", *declared, *([f"input {inputs}"] if inputs else []), *sizes]
        return "\n".join([*head, *self.lines, f"output {', '.join(outputs)}"]) + "\n"


def laid_out(name: str, indices: str, dtype: str = "") -> str:
    """A result as it is declared, its composites put together again."""
    dims = ",".join(COMPOSITES.get(p, p) for p in _parts(indices))
    return name + (f"[{dims}]" if dims else "") + (f": {dtype}" if dtype else "")


def _parts(indices: str) -> list[str]:
    """Dimensions: composites stay together."""
    rest = indices
    for members in COMPOSITES:
        rest = rest.replace(members, members.replace(",", "+"))
    return [part.replace("+", ",") for part in rest.split(",") if part]


# The first is the simplest: failures shrink towards it.
_LEADS = (
    ("", ""), ("b", "b"), ("b,h", "b,h"), ("b,g,r", "b,g"), ("b,h", "b"), ("b,g,r", "b,g"), ("b,h", "b,h"), ("h", "h"),
    ("b,h", "h"), ("b,h", "b,h"),
)  # fmt: skip


def frame(choices: Choices) -> Frame:
    """Some heads: none, plain, grouped, shared by all keys; rows and keys along lines or in planes."""
    lead, key_lead = choices.among(_LEADS)
    planes = choices.number(0, 7)
    query, at_query = ("x,y", "(x * size(y) + y)") if planes in (6, 7) else ("i", "i")
    key, at_key = ("u,v", "(u * size(v) + v)") if planes in (5, 7) else ("j", "j")
    result = Frame(choices, lead, key_lead, query, key, at_query, at_key)
    result.taken |= set("bhgrijxyuvndectkfmqsop")
    if query == "x,y":
        result.index("y", choices.among(("3", "2", "4")))
    if key == "u,v":
        result.index("v", choices.among(("3", "2", "4")))
    return result
