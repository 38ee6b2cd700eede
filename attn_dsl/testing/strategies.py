"""Hypothesis strategies for the arguments of a cascade."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from math import prod

import torch
from hypothesis import strategies as st
from torch import Tensor

from attn_dsl.ir.cascade import Cascade, Input
from attn_dsl.runtime.sizes import DTYPES, NAMES
from attn_dsl.testing.choices import Choices
from attn_dsl.testing.layouts import Layout, laid_out
from attn_dsl.testing.sizes import index_sizes
from attn_dsl.testing.usage import IntegerRange, integer_range, is_only_added


class Values(Enum):
    """What the reals of a tensor look like. ``HUGE``: products of a hundred and more, where a softmax without
    its maximum overflows. ``GAPS``: as biases have them."""

    NORMAL = "normal"
    HUGE = "huge"
    TINY = "tiny"
    CONSTANT = "constant"
    GAPS = "with rows and blocks of -inf"
    SPECIAL = "with NaN and infinities"
    HOLES = "with rows and blocks of NaN"


@dataclass(frozen=True, slots=True)
class Example:
    """The arguments of a call, and how they came about. ``sizes``: as drawn, before a call solves them."""

    arguments: dict[str, Tensor]
    sizes: dict[str, int]
    layouts: dict[str, Layout]
    values: dict[str, Values] = field(default_factory=dict[str, Values])

    def on(self, device: str) -> Example:
        """The same arguments on a device."""
        return replace(self, arguments={name: tensor.to(device) for name, tensor in self.arguments.items()})

    def __str__(self) -> str:
        sizes = " ".join(f"{n}={size}" for n, size in self.sizes.items() if not n.startswith("_"))
        lines = [f"sizes     {sizes}"]
        for name, tensor in self.arguments.items():
            words = [str(list(tensor.shape)), NAMES[tensor.dtype], self.layouts[name].value]
            if self.layouts[name] is not Layout.CONTIGUOUS:
                words.append(f"strides {list(tensor.stride())}")
            if self.values.get(name, Values.NORMAL) is not Values.NORMAL:
                words.append(self.values[name].value)
            lines.append(f"{name:<9} {', '.join(words)}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Limits:
    """What to try. ``longest``, ``widest``: bounds on lengths and features; ``work``: on the elements of one
    statement; ``specials`` lets NaN and infinities in; ``gaps`` lets -inf into what is only added to others,
    as biases are; ``extremes`` lets integers near the ends of their type in; ``repeats``: the same tensor for
    two inputs."""

    dtypes: tuple[str, ...] = ("f32", "bf16", "f16")
    longest: int = 130
    widest: int = 192
    work: int = 1 << 21
    specials: bool = False
    device: str = "cpu"
    gaps: bool = False
    extremes: bool = False
    repeats: bool = False


@st.composite
def examples(
    draw: st.DrawFn,
    cascade: Cascade,
    params: Mapping[str, int | float | bool],
    limits: Limits = Limits(),
) -> Example:
    """Arguments that fit the cascade."""
    return make_example(cascade, params, Choices(lambda n: draw(st.integers(0, n - 1))), limits)


def make_example(
    cascade: Cascade,
    params: Mapping[str, int | float | bool],
    choices: Choices,
    limits: Limits,
    sizes: Mapping[str, int] | None = None,
) -> Example:
    """Arguments that fit the cascade: sizes (of every index, else drawn), dtypes, layouts, values."""
    drawn = sizes or index_sizes(cascade, params, choices, limits.longest, limits.widest, limits.work)
    sizes = dict(drawn)
    common = choices.among(limits.dtypes)
    mixed = choices.once_in(8) and common != "f64"
    others = [d for d in limits.dtypes if d != "f64"]
    result = Example({}, sizes, {})
    for declared in cascade.inputs:
        dtype = declared.dtype or (choices.among(others) if mixed else common)
        shape = tuple(prod(sizes[i] for i in axis.indices) for axis in declared.axes)
        if (same := _same(result, dtype, shape)) and limits.repeats and choices.once_in(12):
            _repeat(result, same, declared.name)
            continue
        tensor, layout = _tensor(choices, declared, dtype, shape, cascade, result, limits)
        result.arguments[declared.name], result.layouts[declared.name] = tensor.to(limits.device), layout
    return result


def _repeat(example: Example, name: str, again: str) -> None:
    example.arguments[again], example.layouts[again] = example.arguments[name], example.layouts[name]
    if name in example.values:
        example.values[again] = example.values[name]


def _same(example: Example, dtype: str, shape: tuple[int, ...]) -> str:
    """An argument of these reals that there is already."""
    alike = (n for n, t in example.arguments.items() if t.dtype == DTYPES[dtype] and tuple(t.shape) == shape)
    return next(alike, "") if DTYPES[dtype].is_floating_point else ""


def _tensor(
    choices: Choices,
    declared: Input,
    dtype: str,
    shape: tuple[int, ...],
    cascade: Cascade,
    example: Example,
    limits: Limits,
) -> tuple[Tensor, Layout]:
    generator = torch.Generator().manual_seed(choices.number(0, 2**31 - 1))
    kind = DTYPES[dtype]
    if kind.is_floating_point:
        values = choices.among(_allowed(declared, cascade, limits))
        example.values[declared.name] = values
        fill = partial(_reals, values=values, dtype=kind, generator=generator)
        return laid_out(shape, fill, choices)
    if dtype == "bool":
        return laid_out(shape, partial(_truths, generator=generator), choices)
    bounds = integer_range(declared, cascade, example.sizes)
    if bounds.bounded and choices.once_in(4):
        bounds = IntegerRange(bounds.low - 2, bounds.high + 2)
    rising = choices.once_in(2)
    fill = partial(_integers, bounds=bounds, rising=rising, dtype=kind, generator=generator)
    if limits.extremes and choices.once_in(5):
        fill = partial(_with_extremes, fill=fill, dtype=kind, generator=generator)
    return laid_out(shape, fill, choices)


_FREQUENT = [*[Values.NORMAL] * 5, Values.HUGE, Values.TINY, Values.CONSTANT]


def _allowed(declared: Input, cascade: Cascade, limits: Limits) -> list[Values]:
    gaps = limits.specials or (limits.gaps and is_only_added(declared, cascade))
    specials = [Values.SPECIAL, Values.HOLES] if limits.specials else []
    return [*_FREQUENT, *([Values.GAPS] * 3 if gaps else []), *specials]


_SCALE = {Values.HUGE: 30.0, Values.TINY: 1e-3}


def _reals(shape: Sequence[int], values: Values, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    x = torch.randn(tuple(shape), generator=generator, dtype=torch.float32) * _SCALE.get(values, 1.0)
    if values is Values.CONSTANT:
        x = torch.full_like(x, 0.5)
    if values is Values.SPECIAL and x.numel() > 0:  # few, so that most rows meet none
        for special in (torch.nan, torch.inf, -torch.inf):
            x.view(-1)[int(torch.randint(x.numel(), (), generator=generator))] = special
    if values in _MISSING and x.dim() and x.numel() > 0:
        _blank(x.view(-1, x.shape[-1]), _MISSING[values], generator)
    return x.to(dtype)


_MISSING = {Values.GAPS: -torch.inf, Values.HOLES: torch.nan}


def _blank(x: Tensor, value: float, generator: torch.Generator) -> None:
    """Some rows as a whole, and in some others what a tile of 16 may hold."""
    chance = torch.rand(x.shape[0], generator=generator)
    x[chance < 0.15] = value
    start = 16 * int(torch.randint((x.shape[1] + 15) // 16, (), generator=generator))
    x[chance > 0.6, start : start + 16] = value


# The least and the greatest of every width, where sums of a few still fit 64 bits, and marks of unused slots.
_EXTREMES = (-128, 127, 255, -(2**31), 2**31 - 1, 2**28, 2**31, 2**32 + 2, -(2**62), 2**62, 0, -1)


def _with_extremes(
    shape: Sequence[int],
    fill: Callable[[Sequence[int]], Tensor],
    dtype: torch.dtype,
    generator: torch.Generator,
) -> Tensor:
    """A third of the elements are extremes that the type holds."""
    x, info = fill(shape), torch.iinfo(dtype)
    extremes = torch.tensor([e for e in _EXTREMES if info.min <= e <= info.max], dtype=dtype)
    chosen = extremes[torch.randint(len(extremes), x.shape, generator=generator)]
    return torch.where(torch.rand(x.shape, generator=generator) < 0.3, chosen, x)


def _truths(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.rand(tuple(shape), generator=generator) < 0.6


def _integers(
    shape: Sequence[int], bounds: IntegerRange, rising: bool, dtype: torch.dtype, generator: torch.Generator
) -> Tensor:
    limits = torch.iinfo(dtype)
    low, high = max(bounds.low, limits.min), min(bounds.high, limits.max)
    x = torch.randint(low, high + 1, tuple(shape), generator=generator)
    return (x.sort(-1).values if rising and len(shape) else x).to(dtype)
