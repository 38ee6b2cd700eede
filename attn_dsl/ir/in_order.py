"""Facts of computed tensors, found in the order of the statements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from attn_dsl.ir.cascade import Cascade

_T = TypeVar("_T")


class InOrder(Generic[_T]):
    """A fact of every computed tensor, found once for each. Those that a tensor's definition reads stand
    above it and are found before it is asked about, so that a long chain of statements is a loop, and a
    diamond no tree."""

    def __init__(self, cascade: Cascade, find: Callable[[str], _T]) -> None:
        complete: dict[str, None] = {}
        for statement in cascade.statements:
            complete.pop(statement.target, None)
            complete[statement.target] = None
        self._waiting = iter(complete)
        self._find = find
        self._found: dict[str, _T] = {}

    def __getitem__(self, tensor: str) -> _T:
        while tensor not in self._found and (earlier := next(self._waiting, None)) is not None:
            self._found[earlier] = self._find(earlier)
        return self._found[tensor]
