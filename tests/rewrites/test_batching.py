"""A mechanism over slices computes for each slice what the mechanism computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import attn_dsl
from attn_dsl.ir.cascade import Cascade
from attn_dsl.reference import evaluate
from attn_dsl.rewrites.batching import batched
from attn_dsl.runtime.sizes import solve_sizes
from tests.examples.cases import CASES, EXAMPLES, example_names

SLICES = 3
Params = dict[str, int | float | bool]


def reference(cascade: Cascade, params: Params, arguments: dict[str, Tensor]) -> list[Tensor]:
    sizes = solve_sizes(cascade, params, arguments)
    found = evaluate(cascade, params, arguments, sizes, torch.float64)
    return [found[o.name] for o in cascade.outputs]


def sliced(name: str, chosen: list[int]) -> tuple[Cascade, Params, list[dict[str, Tensor]], list[str]]:
    """A mechanism, its params, the arguments of each slice, and the inputs that differ among them."""
    attention = attn_dsl.compile(EXAMPLES / f"{name}.attn", params=CASES[name].params)
    names = [attention.cascade.inputs[at % len(attention.cascade.inputs)].name for at in chosen]
    first = CASES[name].arguments(attention.cascade)
    slices: list[dict[str, Tensor]] = []
    for _ in range(SLICES):
        drawn = {n: t.flip(-1) if t.dim() and len(slices) == 1 else t for n, t in first.items()}
        drawn = {n: t * (1 + len(slices) / 4) if t.is_floating_point() else t for n, t in drawn.items()}
        slices.append({n: drawn[n] if n in names else t for n, t in first.items()})
    return attention.cascade, attention.params, slices, names


@pytest.mark.parametrize(
    ("name", "chosen"), [(name, ([-1], [0], [1, -1])[at % 3]) for at, name in enumerate(example_names())]
)
def test_slices_of_every_example(name: str, chosen: list[int]) -> None:
    cascade, params, slices, names = sliced(name, chosen)
    together = {n: torch.stack([s[n] for s in slices]) if n in names else t for n, t in slices[0].items()}
    found = reference(batched(cascade, names).cascade, params, together)
    expected = zip(*(reference(cascade, params, s) for s in slices), strict=True)
    for output, parts in zip(found, expected, strict=True):
        torch.testing.assert_close(output, torch.stack(parts))


@pytest.mark.parametrize("name", ["cache/lengths", "cache/page_table"])
def test_slices_of_what_limits_an_index(name: str) -> None:
    """No input that has the index is sliced, but how far it goes differs."""
    test_slices_of_every_example(name, [-1])
