"""Bounds on what a file may grow to. Functions and names are inlined, so that a few short lines could stand
for more terms than any machine holds; and later stages walk expressions recursively."""

from __future__ import annotations

from collections.abc import Iterable

from attn_dsl.errors import Diagnostic
from attn_dsl.ir.expr import Expr, Span
from attn_dsl.ir.walk import children
from attn_dsl.language import syntax as s
from attn_dsl.language.environment import Problem

MAX_DEPTH = 100
MAX_TERMS = 5_000
MAX_INLININGS = 10_000
MAX_STATEMENTS = 2_000
MAX_INPUTS = 500
MAX_OUTPUTS = 250
MAX_INDICES = 100
_HELP = "give a part of it a tensor of its own"
_MOST = {
    "inputs": MAX_INPUTS,
    "outputs": MAX_OUTPUTS,
    "index lines": MAX_INDICES,
    "statements": MAX_STATEMENTS,
}
_FEWER = {
    "inputs": "stack them into one tensor with a further dimension",
    "outputs": "stack them into one tensor with a further dimension",
    "index lines": "an index may serve several tensors, and several sums",
    "statements": "part it into several files, each an operator",
}


def too_many(lines: Iterable[s.Line]) -> Diagnostic | None:
    """What a file has more of than is read, before anything is made of it."""
    counts = dict.fromkeys(_MOST, 0)
    for line in lines:
        match line:
            case s.InputLine(tensors=tensors):
                kind, more = "inputs", len(tensors)
            case s.OutputLine(tensors=tensors):
                kind, more = "outputs", len(tensors)
            case s.IndexLine():
                kind, more = "index lines", 1
            case s.Assignment():
                kind, more = "statements", 1
            case _:
                continue
        counts[kind] += more
        if counts[kind] > _MOST[kind]:
            return Diagnostic(f"a file has at most {_MOST[kind]} {kind}", line.span, _FEWER[kind])
    return None


class Growth:
    """What has been inlined so far, and the size of the expressions that came of it."""

    def __init__(self) -> None:
        self._inlinings = 0
        self._known: dict[int, tuple[Expr, int, int]] = {}  # holds the node, so that its id stays its own

    def inlined(self, span: Span) -> None:
        """Count one more function, name or mask put in place."""
        self._inlinings += 1
        if self._inlinings > MAX_INLININGS:
            raise Problem(f"more than {MAX_INLININGS} calls are inlined in this file", span, _HELP)

    def check(self, expr: Expr, span: Span) -> Expr:
        """The expression, unless it has grown too large or too deep."""
        terms, depth = self._measure(expr)
        if terms > MAX_TERMS:
            raise Problem(f"written out, this has more than {MAX_TERMS} terms", span, _HELP)
        if depth > MAX_DEPTH:
            raise Problem(
                f"written out, this has more than {MAX_DEPTH} operators inside one another", span, _HELP
            )
        return expr

    def _measure(self, expr: Expr) -> tuple[int, int]:
        stack = [expr]
        while stack:
            node = stack[-1]
            below = children(node)
            waiting = [child for child in below if id(child) not in self._known]
            if waiting:
                stack += waiting
                continue
            stack.pop()
            parts = [self._known[id(child)] for child in below]
            terms, depth = 1 + sum(p[1] for p in parts), 1 + max((p[2] for p in parts), default=0)
            self._known[id(node)] = (node, terms, depth)
        return self._known[id(expr)][1:]
