"""What is measured: a mechanism of ``examples/``, its inputs at a length, the pairs of it that count, and how
FlexAttention would say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

EXAMPLES = Path(__file__).parents[1] / "examples"
HEADS = 8
Counts = Callable[[int], Any]


@dataclass(frozen=True, slots=True)
class Flex:
    """FlexAttention's terms. ``mask`` and ``score`` make the functions it takes from the inputs and the
    length; ``call`` makes its calls with those in hand, where one call is not the whole mechanism."""

    mask: Callable[[Mapping[str, Tensor], int], Any] | None = None
    score: Callable[[Mapping[str, Tensor], int], Any] | None = None
    call: Callable[[Callable[..., Any], Mapping[str, Tensor]], Tensor] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One mechanism. ``keys``: how many keys each query of a head sees, an array of the length. ``products``:
    of the keys' features and the values' that one live pair costs, in multiples of the feature size.
    ``sdpa``: ``full`` or ``causal`` where torch has a fused kernel. ``only``: the lengths, ``features``: the
    sizes that make sense."""

    name: str
    file: str
    keys: Counts
    flex: Flex | None = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    inputs: Callable[[int, int], dict[str, Tensor]] | None = None
    key_heads: int = HEADS
    products: float = 2.0
    sdpa: str | None = None
    only: tuple[int, ...] = ()
    features: tuple[int, ...] = (64, 128)

    @property
    def path(self) -> Path:
        """The file of the mechanism."""
        return EXAMPLES / f"{self.file}.attn"

    def live_pairs(self, length: int) -> int:
        """Pairs of a query and a key that count, over all heads."""
        return int(np.sum(self.keys(length))) * HEADS

    def flops(self, length: int, features: int) -> float:
        """Useful operations of one call: a multiplication and an addition for each product of a live pair."""
        return 2.0 * self.live_pairs(length) * self.products * features

    def arguments(self, length: int, features: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Seeded inputs, by name."""
        torch.manual_seed(length + features)
        made = (
            plain(length, features, self.key_heads) if self.inputs is None else self.inputs(length, features)
        )
        return {n: t.to(dtype) if t.is_floating_point() else t for n, t in made.items()}


def plain(length: int, features: int, key_heads: int = HEADS) -> dict[str, Tensor]:
    """Q, K and V."""
    return {
        "Q": torch.randn(1, HEADS, length, features),
        "K": torch.randn(1, key_heads, length, features),
        "V": torch.randn(1, key_heads, length, features),
    }


def _with(**more: Callable[[int], Tensor]) -> Callable[[int, int], dict[str, Tensor]]:
    return lambda n, d: {**plain(n, d), **{name: make(n) for name, make in more.items()}}


def _rows(n: int) -> Any:
    return np.arange(n)


def _full(n: int) -> Any:
    return np.full(n, n)


def _causal(n: int) -> Any:
    return _rows(n) + 1


def _window(w: int) -> Counts:
    return lambda n: np.minimum(_causal(n), w)


def _sink_window(n: int) -> Any:
    return np.minimum(_causal(n), 256) + np.clip(_rows(n) - 255, 0, 4)


def _prefix(n: int) -> Any:
    return np.maximum(_causal(n), n // 4)


def _documents(n: int) -> Tensor:
    """Documents of uneven lengths, their mean an eighth of the whole or a thousand tokens."""
    generator = torch.Generator().manual_seed(n)
    count = max(8, n // 1000)
    cuts = torch.randint(1, n, (count - 1,), generator=generator).sort().values
    return torch.bucketize(torch.arange(n), cuts, right=True).to(torch.int32)[None]


def _document_keys(n: int) -> Any:
    ids = _documents(n)[0].numpy()
    starts = np.searchsorted(ids, ids, side="left")
    return _rows(n) - starts + 1


def _global_window(n: int) -> Any:
    i = _rows(n)
    low, high = np.maximum(i - 128, 0), np.minimum(i + 128, n - 1)
    return np.where(i < 16, n, high - low + 1 + np.minimum(low, 16))


def _latent(n: int, d: int) -> dict[str, Tensor]:
    return {
        "Qn": torch.randn(1, HEADS, n, 512) / 4, "Qr": torch.randn(1, HEADS, n, d) / 4,
        "C": torch.randn(1, n, 512), "Kr": torch.randn(1, n, d),
    }  # fmt: skip


def _latent_call(flex: Callable[..., Any], a: Mapping[str, Tensor]) -> Tensor:
    q = torch.cat([a["Qn"], a["Qr"]], -1)
    k = torch.cat([a["C"], a["Kr"]], -1)[:, None]
    return flex(q, k, a["C"][:, None], scale=192**-0.5, enable_gqa=True)


def _differential(n: int, d: int) -> dict[str, Tensor]:
    names = ("Q1", "K1", "Q2", "K2", "V")
    return {name: torch.randn(1, HEADS, n, d) for name in names} | {"lam": torch.rand(HEADS)}


def _differential_call(flex: Callable[..., Any], a: Mapping[str, Tensor]) -> Tensor:
    first, second = flex(a["Q1"], a["K1"], a["V"]), flex(a["Q2"], a["K2"], a["V"])
    return first - a["lam"][None, :, None, None] * second


def _sink_call(flex: Callable[..., Any], a: Mapping[str, Tensor]) -> Tensor:
    out, lse = flex(a["Q"], a["K"], a["V"], return_lse=True)
    return out * torch.sigmoid(lse - a["sink"][None, :, None])[..., None]


def _causal_mask(a: Mapping[str, Tensor], n: int) -> Any:
    return lambda b, h, i, j: i >= j


def _window_mask(w: int) -> Callable[[Mapping[str, Tensor], int], Any]:
    return lambda a, n: lambda b, h, i, j: (i >= j) & (i - j < w)


def _sink_mask(a: Mapping[str, Tensor], n: int) -> Any:
    return lambda b, h, i, j: (i >= j) & ((j < 4) | (i - j < 256))


def _prefix_mask(a: Mapping[str, Tensor], n: int) -> Any:
    end = n // 4
    return lambda b, h, i, j: (i >= j) | (j < end)


def _document_mask(a: Mapping[str, Tensor], n: int) -> Any:
    document = a["document"][0]
    return lambda b, h, i, j: (i >= j) & (document[i] == document[j])


def _plane_mask(a: Mapping[str, Tensor], n: int) -> Any:
    def mask(b: Any, h: Any, i: Any, j: Any) -> Any:
        x, y, u, v = i // 64, i % 64, j // 64, j % 64
        cx, cy = torch.clamp(x - 6, 0, 51), torch.clamp(y - 6, 0, 51)
        return (u >= cx) & (u < cx + 13) & (v >= cy) & (v < cy + 13)

    return mask


def _global_mask(a: Mapping[str, Tensor], n: int) -> Any:
    return lambda b, h, i, j: ((i - j).abs() <= 128) | (i < 16) | (j < 16)


def _alibi_score(a: Mapping[str, Tensor], n: int) -> Any:
    slope = a["slope"]
    return lambda s, b, h, i, j: s - slope[h] * (i - j).abs()


def _bias_score(a: Mapping[str, Tensor], n: int) -> Any:
    bias = a["bias"]
    return lambda s, b, h, i, j: s + bias[h, torch.clamp(i - j, -32, 32) + 32]


def _cap_score(a: Mapping[str, Tensor], n: int) -> Any:
    return lambda s, b, h, i, j: 50.0 * torch.tanh(s / 50.0)


CASES = (
    Case("dense", "basic/dense", _full, Flex(), sdpa="full"),
    Case("causal", "basic/cross_causal", _causal, Flex(_causal_mask), sdpa="causal"),
    Case("window 256", "masks/sliding_window", _window(256), Flex(_window_mask(256)), {"window": 256}),
    Case("window 1024", "masks/sliding_window", _window(1024), Flex(_window_mask(1024)), {"window": 1024}),
    Case("sink + window", "masks/sink_window", _sink_window, Flex(_sink_mask)),
    Case("prefix", "masks/prefix_lm", _prefix, Flex(_prefix_mask),
         inputs=_with(n=lambda n: torch.tensor([n // 4], dtype=torch.int32))),
    Case("documents", "masks/documents", _document_keys, Flex(_document_mask), inputs=_with(document=_documents)),
    Case("neighbourhood 2-D", "multidim/neighbourhood_2d", lambda n: np.full(n, 169), Flex(_plane_mask),
         {"width": 64, "window": 13}, only=(4096,)),
    Case("global + window", "masks/global_window", _global_window, Flex(_global_mask)),
    Case("alibi", "positions/alibi", _causal, Flex(_causal_mask, _alibi_score),
         inputs=_with(slope=lambda n: torch.rand(HEADS))),
    Case("relative bias", "positions/relative_bias", _full, Flex(None, _bias_score),
         inputs=_with(bias=lambda n: torch.randn(HEADS, 65))),
    Case("soft cap", "normalisers/soft_cap", _causal, Flex(_causal_mask, _cap_score)),
    Case("grouped-query", "heads/grouped_query", _causal, Flex(_causal_mask), key_heads=2),
    Case("sigmoid", "normalisers/sigmoid", _full),
    Case("sink logits", "normalisers/sink_logits", _window(128), Flex(_window_mask(128), None, _sink_call),
         inputs=_with(sink=lambda n: torch.randn(HEADS))),
    Case("differential", "heads/differential", _causal, Flex(_causal_mask, None, _differential_call),
         inputs=_differential, products=4.0),
    Case("latent", "heads/latent", _causal, Flex(_causal_mask, None, _latent_call), inputs=_latent, products=17.0, features=(64,)),
)  # fmt: skip
