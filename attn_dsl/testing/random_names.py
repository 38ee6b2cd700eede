"""The frame of a random mechanism: its indices, and the inputs and params it turns out to need."""

from __future__ import annotations

from dataclasses import dataclass, field

from attn_dsl.testing.choices import Choices


@dataclass(slots=True)
class Frame:
    """``heads``, ``query``, ``key``: the indices of a head, a query and a key as they stand between brackets;
    ``at_query``, ``at_key``: a query's and a key's position as an expression."""

    choices: Choices
    heads: str
    query: str
    key: str
    at_query: str
    at_key: str
    inputs: dict[str, str] = field(default_factory=dict[str, str])
    params: dict[str, str] = field(default_factory=dict[str, str])
    lines: list[str] = field(default_factory=list[str])

    @property
    def row(self) -> str:
        """The indices of a row of scores."""
        return f"b,{self.heads},{self.query}"

    @property
    def pair(self) -> str:
        """The indices of a score."""
        return f"{self.row},{self.key}"

    def input(self, name: str, dims: str, dtype: str = "") -> str:
        """Declare an input, once; gives its name."""
        self.inputs[name] = f"{name}[{dims}]" + (f": {dtype}" if dtype else "")
        return name

    def number(self, low: int, high: int) -> str:
        """A small integer: written out, or as a param."""
        value = self.choices.number(low, high)
        if not self.choices.once_in(4):
            return str(value)
        name = f"n{len(self.params)}"
        self.params[name] = f"param {name}: int = {value}"
        return name

    def one_of(self, *options: str) -> str:
        """One of several texts."""
        return self.choices.among(options)

    def text(self, outputs: list[str]) -> str:
        """The whole file."""
        declared = f"input {', '.join(self.inputs.values())}" if self.inputs else ""
        sizes = ["index y < 3", "index v < 3"] if self.key == "u,v" else []
        head = ["attention random", *self.params.values(), declared, *sizes]
        return "\n".join([*head, *self.lines, f"output {', '.join(outputs)}"]) + "\n"


def frame(choices: Choices) -> Frame:
    """A frame with Q, K and V: plain or grouped heads, keys along a line or in a plane."""
    grouped, plane = choices.once_in(3), choices.once_in(5)
    if plane:
        at_query, at_key = "(x * size(y) + y)", "(u * size(v) + v)"
        result = Frame(choices, "g,r" if grouped else "h", "x,y", "u,v", at_query, at_key)
    else:
        result = Frame(choices, "g,r" if grouped else "h", "i", "j", "i", "j")
    query, key = ("(x y)", "(u v)") if plane else ("i", "j")
    result.input("Q", f"b, {'(g r)' if grouped else 'h'}, {query}, d")
    result.input("K", f"b, {'g' if grouped else 'h'}, {key}, d")
    result.input("V", f"b, {'g' if grouped else 'h'}, {key}, e")
    return result


def key_heads(frame: Frame) -> str:
    """The head indices of keys and values."""
    return frame.heads.split(",")[0]


def per_head(frame: Frame) -> str:
    """The declared dimension of an input that has one number a head."""
    return "(g r)" if frame.heads == "g,r" else "h"
