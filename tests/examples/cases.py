"""A small call of every example: the extent of each index, params, and integer inputs that mean something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from attn_dsl.ir.cascade import Cascade, Input
from attn_dsl.runtime.sizes import DTYPES

EXAMPLES = Path(__file__).parents[2] / "examples"
Integers = Callable[[tuple[int, ...]], Tensor]


def below(bound: int) -> Integers:
    """Integers from 0 up to ``bound``, exclusive."""
    return lambda shape: torch.randint(bound, shape, dtype=torch.int32)


def ascending(bound: int) -> Integers:
    """Integers below ``bound`` that ascend along the last axis: the numbers of packed documents."""
    return lambda shape: torch.randint(bound, shape, dtype=torch.int32).sort(-1).values


def fixed(*values: int) -> Integers:
    """These integers."""
    return lambda shape: torch.tensor(values, dtype=torch.int32).reshape(shape)


def words(shape: tuple[int, ...]) -> Tensor:
    """Any 32-bit words."""
    return torch.randint(-(2**31), 2**31, shape).to(torch.int32)


def bytes_(shape: tuple[int, ...]) -> Tensor:
    """Any signed bytes."""
    return torch.randint(-127, 128, shape, dtype=torch.int8)


def seed(shape: tuple[int, ...]) -> Tensor:
    """A seed of 64 bits."""
    return torch.randint(2**62, shape)


def pages(shape: tuple[int, ...]) -> Tensor:
    """A permutation of the pool dealt out to the sequences: no page is shared."""
    return torch.randperm(prod(shape)).reshape(shape).to(torch.int32)


@dataclass(frozen=True, slots=True)
class Case:
    """``sizes``: of the indices, over the common ones of ``SIZES``; an unnamed dimension goes by
    ``_tensor_position``. ``positive``: inputs drawn from (0.5, 1). ``widest``: bound on the features
    that its kernels are tried at."""

    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    params: Mapping[str, int | float] = field(default_factory=dict[str, "int | float"])
    integers: Mapping[str, Integers] = field(default_factory=dict[str, Integers])
    positive: frozenset[str] = frozenset()
    widest: int = 192

    def all_sizes(self, cascade: Cascade) -> dict[str, int]:
        """The extent of every index of the cascade."""
        sizes = {**SIZES, **self.sizes}
        return {index.name: sizes[index.name] for index in cascade.indices}

    def arguments(self, cascade: Cascade, dtype: str = "f64") -> dict[str, Tensor]:
        """Seeded inputs of the cascade; ``dtype``: of those that may have any floating one."""
        torch.manual_seed(20)
        return {declared.name: self._argument(declared, dtype) for declared in cascade.inputs}

    def _argument(self, declared: Input, dtype: str) -> Tensor:
        sizes = {**SIZES, **self.sizes}
        shape = tuple(prod(sizes[index] for index in axis.indices) for axis in declared.axes)
        if declared.name in self.integers:
            return self.integers[declared.name](shape)
        reals = torch.randn(shape, dtype=torch.float64)
        if declared.name in self.positive:
            reals = reals.sigmoid() / 2 + 0.5
        return reals.to(DTYPES[declared.dtype or dtype])


SIZES = {"b": 2, "h": 3, "g": 2, "r": 3, "s": 2, "i": 29, "j": 29, "d": 6, "e": 5}
CROSS = {"i": 13, "j": 29}
IMAGE = {"x": 6, "y": 7, "u": 6, "v": 7}
CODES = {"w": 2, "e": 32, "j": 48, "d": 6, "_KC_2": 3, "_KS_2": 6, "_KZ_2": 6, "_VS_3": 4, "_VZ_3": 4}

CASES: dict[str, Case] = {
    "basic/dense": Case(CROSS),
    "basic/cross_causal": Case(CROSS),
    "basic/dropout": Case(integers={"seed": seed}),
    "basic/convolved_keys": Case({"u": 3}),
    "heads/grouped_query": Case(),
    "heads/multi_query": Case(CROSS),
    "heads/sparse_query": Case(CROSS),
    "heads/sizes": Case(),
    "heads/differential": Case(),
    "heads/latent": Case({**CROSS, "c": 12, "d": 4}, {"head": 16}),
    "heads/head_gates": Case(),
    "heads/gated_output": Case(),
    "heads/output_projection": Case({"c": 14}),
    "heads/full_and_streaming": Case(params={"sinks": 2, "recent": 7}),
    "masks/sliding_window": Case(params={"window": 7}),
    "masks/sink_window": Case(params={"sinks": 2, "window": 7}),
    "masks/dilated_window": Case(params={"window": 4, "step": 3}),
    "masks/strided_causal": Case(params={"stride": 5}),
    "masks/head_strides": Case({"g": 3, "r": 2}, {"block": 3, "near": 2, "stride": 4}),
    "masks/power": Case(params={"block": 2, "near": 2, "sinks": 1}),
    "masks/prefix_lm": Case(integers={"n": below(29)}),
    "masks/documents": Case(integers={"document": ascending(4)}),
    "masks/ranked_segments": Case(params={"last": 5}, integers={"segment": ascending(6)}),
    "masks/global_window": Case(CROSS, {"window": 6, "anchors": 2}),
    "masks/tri_shape": Case(params={"sinks": 2, "window": 6, "last": 4}),
    "masks/block_diagonal": Case(params={"block": 8}),
    "masks/shifted_blocks": Case(params={"block": 8}),
    "masks/head_windows": Case(integers={"sinks": below(4), "window": below(12)}),
    "multidim/neighbourhood_1d": Case(params={"window": 5}),
    "multidim/neighbourhood_2d": Case(IMAGE, {"width": 7, "window": 3}),
    "multidim/neighbourhood_bias": Case({**IMAGE, "_bias_1": 5, "_bias_2": 5}, {"width": 7, "window": 3}),
    "multidim/neighbourhood_3d_dilated": Case(
        {"b": 1, "x": 6, "y": 5, "z": 7, "u": 6, "v": 5, "w": 7},
        {"depth": 6, "width": 7, "window": 2, "dilation": 2},
    ),
    "multidim/neighbourhood_strided": Case(IMAGE, {"width": 7, "window": 4, "stride": 2}),
    "multidim/neighbourhood_video": Case(
        {"b": 1, "t": 4, "x": 5, "y": 4, "s": 4, "u": 5, "v": 4}, {"frames": 2, "window": 3}
    ),
    "positions/alibi": Case(),
    "positions/relative_bias": Case({**CROSS, "_bias_1": 11}, {"reach": 5}),
    "positions/bucket_bias": Case({"i": 40, "j": 40, "_bias_0": 8}, {"buckets": 8, "furthest": 20}),
    "positions/relative_logits": Case({"_E_1": 29}),
    "positions/relative_vectors": Case({**CROSS, "_A_0": 11, "_B_0": 11}, {"reach": 5}),
    "positions/transformer_xl": Case({"_R_1": 29}),
    "positions/rotary": Case(),
    "positions/forgetting": Case({"t": 29}),
    "normalisers/soft_cap": Case(params={"cap": 1.5}),
    "normalisers/temperature": Case(),
    "normalisers/length_scale": Case(params={"trained": 9}),
    "normalisers/softmax_one": Case(),
    "normalisers/sink_logits": Case(params={"window": 7}),
    "normalisers/sink_key": Case(),
    "normalisers/sigmoid": Case(CROSS),
    "normalisers/relu_squared": Case(),
    "normalisers/softplus": Case(),
    "normalisers/softplus_reweighted": Case(),
    "normalisers/parameter_tokens": Case(),
    "normalisers/grouped_softmax": Case({"i": 13, "c": 5, "t": 4}, {"block": 4}),
    "normalisers/entropy": Case(),
    "normalisers/entropy_of_weights": Case(),
    "normalisers/statistics": Case(),
    "normalisers/landmark": Case({"i": 24, "c": 6, "t": 4}, {"block": 4}),
    "linear/retention": Case(positive=frozenset({"gamma"})),
    "linear/lightning": Case(positive=frozenset({"slope"})),
    "linear/linear": Case(),
    "cache/two_bit": Case({**CODES, "i": 5}, {"group": 8}, {"KC": words, "VC": words}, widest=8),
    "cache/two_bit_recent": Case({**CODES, "i": 2, "n": 9}, {"group": 8}, {"KC": words, "VC": words}, widest=8),
    "cache/eight_bit": Case(CROSS, integers={"KC": bytes_, "VC": bytes_}, positive=frozenset({"sk", "sv"})),
    "cache/page_table": Case(
        {"i": 3, "n": 10, "s": 4, "p": 5, "j": 20}, integers={"page": pages, "length": fixed(18, 7)},
    ),
    "cache/lengths": Case(integers={"length": fixed(17, 29)}),
    "cache/column_sums": Case(),
    "cache/token_gather": Case({**CROSS, "n": 8}, integers={"list": below(29)}),
    "coming/block_selection": Case({"t": 4, "c": 8}, {"block": 4, "chosen": 3}),
    "cache/diagonal_sums": Case({"o": 57}),
}  # fmt: skip


def example_names() -> list[str]:
    """Every example of the repository, as ``family/name``."""
    files = sorted(EXAMPLES.rglob("*.attn"))
    return [file.relative_to(EXAMPLES).with_suffix("").as_posix() for file in files]
