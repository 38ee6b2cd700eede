"""Whether a file that takes no mask keeps the model's by itself: whether its rows see no key that the mask
hides.

All keys of 256 rows are looked at, half from either end; of fewer, all rows. A mask of transformers is a
function of positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import (
    bidirectional_mask_function,
    causal_mask_function,
    sliding_window_bidirectional_mask_function,
    sliding_window_causal_mask_function,
)

from attn_dsl.transformers.mechanism import Mechanism
from attn_dsl.transformers.positions import checked_rows, keys_seen

WHOLE = "mask[b, _, i, j]: bool"


@dataclass(frozen=True, slots=True)
class Extent:
    """The rows and keys of a call, and the position of the first of each in the whole sequence."""

    rows: int
    keys: int
    row_offset: Any = 0  # a number; a tensor where a static cache is traced
    key_offset: int = 0
    batch: int = 1
    device: Any = "cpu"


def default_pattern(extent: Extent, causal: bool, window: int | None) -> Callable[..., Any]:
    """The mask function that the arguments of a call speak of: a window that is two-sided ends before its
    size, as everywhere in transformers."""
    if not causal:
        one = bidirectional_mask_function
        return one if window is None else sliding_window_bidirectional_mask_function(window - 1)
    if extent.rows == 1 and window is None:
        return bidirectional_mask_function
    return causal_mask_function if window is None else sliding_window_causal_mask_function(window)


def require_within(
    mechanism: Mechanism, extent: Extent, mask_function: Callable[..., Any], window: int | None = None
) -> None:
    """ArgumentError where a row of the file may see a key that the model's mask hides, of the rows that are
    checked."""
    if mask_function is not bidirectional_mask_function:
        require_hidden(mechanism, shown(extent, mask_function).cpu(), extent.rows, extent.keys, window)


def require_hidden(mechanism: Mechanism, mask: Tensor, rows: int, keys: int, window: int | None) -> None:
    """ArgumentError where a row of the file may see a key that a mask hides: that of the rows that are
    checked."""
    seen = keys_seen(mechanism.guards, mechanism.known_params(window), (rows, keys), checked_rows(rows))
    if (outside := (seen & ~mask).nonzero()).numel():
        at, key = outside[0, 2:].tolist()
        name, row = mechanism.cascade.name, int(checked_rows(rows)[at])
        what = f"row {row} of {name} may see key {key}, which the model's mask hides"
        raise mechanism.error(what, f"hide it in the file, or take the model's mask: input {WHOLE}")


def require_within_call(mechanism: Mechanism, rows: int, keys: int, causal: bool, window: int | None) -> None:
    """ArgumentError where a row may see a key that the arguments of a call hide; found out once for each."""
    asked = (rows, keys, causal, window)
    if asked not in mechanism.within:
        extent = Extent(rows, keys, max(keys - rows, 0))
        require_within(mechanism, extent, default_pattern(extent, causal, window), window)
        mechanism.within.add(asked)


def shown(extent: Extent, mask_function: Callable[..., Any]) -> Tensor:
    """What the model's mask shows to the rows that are checked: bool[b, 1, rows, keys]; or b = 1, if the same
    to all."""
    keys = torch.arange(extent.keys, device=extent.device).view(1, 1, 1, -1)
    return shown_to(extent, mask_function, checked_rows(extent.rows, extent.device), keys)


def shown_to(extent: Extent, mask_function: Callable[..., Any], rows: Tensor, keys: Tensor) -> Tensor:
    batch = torch.arange(extent.batch, device=extent.device).view(-1, 1, 1, 1)
    head = torch.zeros(1, 1, 1, 1, dtype=torch.int64, device=extent.device)
    position = rows.view(1, 1, -1, 1) + extent.row_offset
    return torch.as_tensor(mask_function(batch, head, position, keys + extent.key_offset))
