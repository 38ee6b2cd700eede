"""What the names of a file mean, and the problem that stops the resolving of one statement."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from attn_dsl.errors import Diagnostic
from attn_dsl.ir.cascade import Index, Input, Mask, Output, Param, Statement
from attn_dsl.ir.dtypes import DTYPES, Kind
from attn_dsl.ir.expr import Expr, Span
from attn_dsl.ir.operators import FUNCTIONS
from attn_dsl.language import syntax as s

RANKINGS = {
    "topk": "topk[c](x, k)",
    "topp": "topp[c](x, p)",
    "argsort": "argsort[j](x)",
    "argmax": "argmax[j](x)",
}
FORMS_OF_CALL = {
    "size": "size(j)",
    "detach": "detach(x)",
    "default": "default(x, 0)",
    "clamp": "clamp(x, low, high)",
    "min": "min(a, b)",
    "max": "max(a, b)",
    "uniform": "uniform(seed, b, h, i, j)",
}

# What functions of other languages are here.
ELSEWHERE = {
    "len": "the extent of an index is size(d)",
    "shape": "the extent of an index is size(d)",
    "cumsum": "a running sum: index t < size(i), then C[i] += x[t] where t <= i",
    "sum": "a sum is a statement: T[i] += x[i,j]",
    "mean": "a mean is a statement: T[i] mean= x[i,j]",
    "where": "a choice is written x if condition else y; a mask stands after 'where'",
    "transpose": "indices are named, so nothing is transposed: read K[j,d]",
    "matmul": "a contraction names its indices: S[i,j] += Q[i,d] * K[j,d]",
}


class Problem(Exception):
    """One diagnostic; the statement at hand is given up, the next one goes on."""

    def __init__(self, message: str, span: Span | None, help: str = "", notes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(message, span, help, notes)

    def inside(self, function: str, place: Span, site: Span) -> Problem:
        """The same problem, which stands in the body of a function called at ``site``."""
        where = f"line {place.line}" if place.file == site.file else f"{place.file}:{place.line}"
        told = self.diagnostic
        notes = (*told.notes, f"in '{function}', {where}")[:_NOTES]
        return Problem(told.message, told.span, told.help, notes)


_NOTES = 4
UNDECLARED = "an index comes from an input's dimensions or 'index NAME < size'"


class Given(Exception):
    """A statement that depends on one that has already been reported."""


@dataclass(slots=True)
class Environment:
    """Everything declared so far. ``dims``: the indices of every tensor's slots, inputs and computed;
    ``kinds``: of each; ``failed``: tensors whose statement was refused;
    ``hidden``: functions of the prelude whose names the file has taken."""

    params: dict[str, Param] = field(default_factory=dict)
    lets: dict[str, s.LetLine] = field(default_factory=dict)
    masks: dict[str, s.MaskLine] = field(default_factory=dict)
    scalar_defs: dict[str, s.ScalarDef] = field(default_factory=dict)
    cascade_defs: dict[str, s.CascadeDef] = field(default_factory=dict)
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    indices: dict[str, Index] = field(default_factory=dict)
    inputs: dict[str, Input] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)
    dims: dict[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    resolved_masks: list[Mask] = field(default_factory=list)
    later: dict[str, Span] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)

    def members(self, name: str) -> tuple[str, ...]:
        """The indices a name stands for: its own, or a composite's."""
        return self.aliases.get(name, (name,))

    def check_index(self, name: str, span: Span | None) -> None:
        """A name that must be an index."""
        if name in self.indices:
            return
        if name in self.failed:
            raise Given(name)
        raise Problem(f"'{name}' is not an index", span, suggestion(name, self.indices) or UNDECLARED)

    def kind_of_name(self, name: str) -> str:
        """What a name stands for, in words; empty where it stands for nothing."""
        tables = {
            "an index": self.indices,
            "a composite index": self.aliases,
            "a param": self.params,
            "a 'let'": self.lets,
            "a mask": self.masks,
            "a function": (
                *self.scalar_defs,
                *self.cascade_defs,
                *FUNCTIONS,
                *DTYPES,
                *RANKINGS,
                *FORMS_OF_CALL,
            ),
            "a tensor": self.dims,
        }
        return next((words for words, names in tables.items() if name in names), "")


@dataclass(frozen=True, slots=True)
class Bindings:
    """What names mean inside the body of a function: parameters, local tensors, formal indices.
    ``site``: the call, which is where problems are shown; ``depth`` bounds recursion."""

    values: dict[str, Expr] = field(default_factory=dict)
    over: dict[str, tuple[str, ...]] = field(default_factory=dict)
    site: Span | None = None
    depth: int = 0
    active: tuple[str, ...] = ()


def suggestion(name: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?``, or nothing."""
    close = difflib.get_close_matches(name, set(known) - {name}, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else ""
