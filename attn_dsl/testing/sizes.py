"""Sizes to try: of a batch, of a sequence, of a feature, by the place an index has in the inputs.

Q[b, h, i, d]      d: a feature;  i: a length;  b, h: batches
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from math import prod

from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.walk import index_names
from attn_dsl.runtime.sizes import evaluate_size
from attn_dsl.testing.choices import Choices
from attn_dsl.testing.usage import expressions


class Role(Enum):
    """The sizes an index is tried at, the simplest first: failures shrink towards it."""

    BATCH = (1, 2, 3, 2, 1, 3, 2, 0)
    MEMBER = (2, 3, 1, 5)
    LENGTH = (5, 1, 2, 16, 17, 33, 64, 127, 130, 0)
    FEATURE = (8, 1, 16, 17, 64, 80, 96, 192)
    TABLE = (1, 7, 0)


def roles(cascade: Cascade) -> dict[str, Role]:
    """The role of every index whose size the arguments give, from the input of most dimensions it stands
    in."""
    declared = {i.name for i in cascade.indices if i.size is not None}
    used = {name for expr in expressions(cascade) for name in index_names(expr)}
    found: dict[str, Role] = {}
    for tensor in sorted(cascade.inputs, key=lambda t: -len(t.axes)):
        for place, axis in enumerate(reversed(tensor.axes)):
            free = [name for name in axis.indices if name not in declared]
            for name in free:
                role = _role(len(tensor.axes), place, len(axis.indices))
                found.setdefault(name, role if name in used else Role.TABLE)
    for index in cascade.indices:
        if index.name not in declared:
            found.setdefault(index.name, Role.LENGTH)
    return found


def _role(rank: int, place: int, members: int) -> Role:
    if members > 1:
        return Role.MEMBER
    if rank >= 3 and place == 0:
        return Role.FEATURE
    return Role.LENGTH if place == (1 if rank >= 3 else 0) else Role.BATCH


def index_sizes(
    cascade: Cascade,
    params: Mapping[str, int | float | bool],
    choices: Choices,
    longest: int,
    widest: int,
    work: int,
) -> dict[str, int]:
    """A size for every index. ``longest`` and ``widest`` bound lengths and features; ``work`` the number of
    elements of the largest statement."""
    sizes: dict[str, int] = {}
    known = roles(cascade)
    inside = {n for t in cascade.inputs for a in t.axes if len(a.indices) > 1 for n in a.indices}
    for name, role in known.items():
        if role is not Role.TABLE:
            bound = {Role.LENGTH: longest, Role.FEATURE: widest}.get(role, longest)
            # A composite of extent 0 would leave its other members open.
            least = 1 if name in inside else 0
            sizes[name] = choices.among([n for n in role.value if least <= n <= bound])
    lengths = [sizes[n] for n, role in known.items() if role is Role.LENGTH]
    longest = max(lengths, default=1)
    reach = (longest, sum(lengths[:2]) - 1, 2 * longest - 1, (longest + 3) // 4, (longest + 15) // 16)
    for name, role in known.items():
        if role is Role.TABLE:
            sizes[name] = choices.among([*(max(1, n) for n in reach), *role.value])
    return complete_sizes(_within(sizes, known, cascade, params, work), cascade, params)


def complete_sizes(
    sizes: Mapping[str, int], cascade: Cascade, params: Mapping[str, int | float | bool]
) -> dict[str, int]:
    """With the sizes that are declared as expressions of others."""
    known = dict(sizes)
    for _ in cascade.indices:
        for index in cascade.indices:
            size = evaluate_size(index.size, params, known)
            if size is not None:
                known[index.name] = max(0, size)
    return known


def _within(
    sizes: dict[str, int],
    known: Mapping[str, Role],
    cascade: Cascade,
    params: Mapping[str, int | float | bool],
    work: int,
) -> dict[str, int]:
    """Halve batches, then whatever is largest, until no statement is too large."""
    while _work(cascade, complete_sizes(sizes, cascade, params)) > work:
        batches = [n for n, role in known.items() if role is Role.BATCH and sizes[n] > 1]
        largest = max(batches or sizes, key=lambda n: sizes[n])
        sizes = {**sizes, largest: (sizes[largest] + 1) // 2}
        if max(sizes.values()) <= 1:
            break
    return sizes


def _work(cascade: Cascade, sizes: Mapping[str, int]) -> int:
    return max(
        (_elements(s.dims + s.over, sizes) for s in cascade.statements if isinstance(s, Einsum)), default=0
    )


def _elements(space: tuple[str, ...], sizes: Mapping[str, int]) -> int:
    return prod(sizes[name] for name in dict.fromkeys(space))
