"""The choices that make up an example, from any source: hypothesis, an even spread, a record to replay.

Hypothesis repeats parts of earlier examples, which is good for the thousands of examples of a fast test and
bad for the few dozen of a slow kernel. ``spread`` goes through the options of every choice evenly instead: of
ten lengths, ten examples try each once, in a random order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """``pick(n)`` gives a number below n, 0 for the simplest; ``record`` is what it has given."""

    def __init__(self, pick: Callable[[int], int]) -> None:
        self._pick = pick
        self.record: list[int] = []

    def among(self, options: Sequence[T]) -> T:
        """One of the options, the first the simplest."""
        self.record.append(self._pick(len(options)))
        return options[self.record[-1]]

    def once_in(self, n: int) -> bool:
        """True every n-th time; simplest: False."""
        return self.among(range(n)) == n - 1

    def number(self, low: int, high: int) -> int:
        """An integer, both ends inclusive; simplest: the low end."""
        return self.among(range(low, high + 1))

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in some order; simplest: as they are."""
        rest = list(items)
        return [rest.pop(self.number(0, len(rest) - 1)) for _ in items]


def spread(seed: int, example: int) -> Choices:
    """The choices of the n-th example of a run; those of the first are the simplest."""
    position = 0

    def pick(n: int) -> int:
        nonlocal position
        position += 1
        if example == 0 or n == 1:
            return 0
        if n > 256:
            return Random(f"{seed} {position} {example}").randrange(n)
        order = list(range(n))
        Random(f"{seed} {position} {example // n}").shuffle(order)
        return order[example % n]

    return Choices(pick)


def replay(record: Sequence[int]) -> Choices:
    """The same choices again; the simplest where the record ends or does not fit."""
    rest = iter(record)

    def pick(n: int) -> int:
        chosen = next(rest, 0)
        return chosen if chosen < n else 0

    return Choices(pick)


def simpler(record: Sequence[int]) -> Iterator[list[int]]:
    """Records with one choice made the simplest, from the first choice on."""
    for place, chosen in enumerate(record):
        if chosen:
            yield [*record[:place], 0, *record[place + 1 :]]


def shrunk(record: Sequence[int], fails: Callable[[list[int]], list[int] | None], tries: int) -> list[int]:
    """A simple record near one that fails. ``fails`` gives the choices really made where a record fails
    too."""
    best, left = list(record), tries
    progress = True
    while progress and left > 0:
        progress = False
        for candidate in _shorter(best):
            if left <= 0:
                break
            left -= 1
            found = fails(candidate)
            if found is not None and (len(found), sum(found)) < (len(best), sum(best)):
                best, progress = found, True
                break
    return best


def _shorter(record: Sequence[int]) -> Iterator[list[int]]:
    """Records with a run of choices left out, or one choice made the simplest or simpler."""
    for length in (16, 8, 4, 2, 1):
        for start in range(0, len(record), length):
            yield [*record[:start], *record[start + length :]]
    for place, chosen in enumerate(record):
        if chosen > 256:  # a seed
            continue
        for smaller in sorted({0, chosen // 2, chosen - 1} - {chosen, -1}):
            yield [*record[:place], smaller, *record[place + 1 :]]
