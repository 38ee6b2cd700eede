"""The model's mask in the form that a file takes it, or the certainty that the file keeps it by itself.

A file may declare `mask` (which keys each row sees: bool, or the number that is added), `keep[b, j]` (which keys are no
padding) or `lengths[b]` (how many keys stand before the padding). A file without `mask` is asked where its rows meet keys
(`positions`): nothing is materialised if they see no more than the model's mask allows.
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
    prepare_padding_mask,
    sdpa_mask,
    sliding_window_bidirectional_mask_function,
    sliding_window_causal_mask_function,
)

from attn_dsl.ir.cascade import Input
from attn_dsl.transformers.mechanism import Mechanism
from attn_dsl.transformers.positions import first_counted_from_start, keys_seen, mentions

MASKS = MASK, KEEP, LENGTHS = "mask", "keep", "lengths"
_WHOLE = "mask[b, _, i, j]: bool"
DECLARATIONS = f"{_WHOLE}, or for padding alone keep[b, j]: bool or lengths[b]: i32"
_ROWS_CHECKED = 256
# Added to hide a key: exp of it is 0, and it is so small that differences of scores survive in a row that sees nothing.
_HIDDEN = -1e4


@dataclass(frozen=True, slots=True)
class Extent:
    """The rows and keys of a call, and the position of the first of each in the whole sequence."""

    rows: int
    keys: int
    row_offset: int = 0
    key_offset: int = 0
    batch: int = 1
    device: torch.device | str = "cpu"


def mask_interface(mechanism: Mechanism) -> Callable[..., Tensor | None]:
    """What transformers calls to make a mask: None, a mask of padding bool[b, j] or a whole one bool[b, 1, i, j]."""

    def make(
        *, batch_size: int, q_length: int, kv_length: int, q_offset: Any = 0, kv_offset: int = 0,
        mask_function: Callable[..., Any] = causal_mask_function, attention_mask: Tensor | None = None,
        allow_is_causal_skip: bool = True, allow_is_bidirectional_skip: bool = False,
        local_size: int | None = None, **kwargs: Any,
    ) -> Tensor | None:  # fmt: skip
        device = kwargs.get("device", "cpu")
        extent = Extent(q_length, kv_length, int(q_offset), kv_offset, batch_size, device)
        if mask_function is not bidirectional_mask_function:
            require_last_row_at_last_key(mechanism, extent)
        require_positions(mechanism, extent)
        if mechanism.extra(MASK) is not None or not (allow_is_causal_skip or allow_is_bidirectional_skip):
            return sdpa_mask(
                batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask,
                allow_is_causal_skip=False, **kwargs,
            )  # fmt: skip
        require_within(mechanism, extent, mask_function, local_size)
        padding = prepare_padding_mask(attention_mask, kv_length, kv_offset)
        if padding is None:
            return None
        padding = padding[:, kv_offset : kv_offset + kv_length]
        return None if bool(padding.all()) else padding

    return make


def require_positions(mechanism: Mechanism, extent: Extent) -> None:
    """ArgumentError where rows or keys are not the whole sequence and the file counts them from its start."""
    cascade, row, key = mechanism.cascade, mechanism.row, mechanism.key
    if extent.rows != extent.keys and (line := first_counted_from_start(cascade, row)) is not None:
        what = f"{extent.rows} rows for {extent.keys} keys, and {cascade.name} counts rows from the first key"
        raise mechanism.error(what, f"a row is at {row} + size({key}) - size({row}): causal_at_end", line)
    if extent.key_offset and (line := first_counted_from_start(cascade, key)) is not None:
        dropped = f"the cache has dropped {extent.key_offset} keys"
        what = f"{dropped}, and {cascade.name} counts keys from the first"
        raise mechanism.error(what, f"count from the last: {key} - size({key})", line)


def require_last_row_at_last_key(mechanism: Mechanism, extent: Extent) -> None:
    """ArgumentError where a cache has room for keys to come, and the file counts rows from the last of its keys."""
    last = extent.row_offset + extent.rows, extent.key_offset + extent.keys
    if last[0] != last[1] and mentions(mechanism.cascade, mechanism.row):
        what = f"the last row is at {last[0] - 1} of {last[1]} keys, in {mechanism.cascade.name} at the last: a static cache"
        raise mechanism.error(what, "use a dynamic cache, which holds the keys there are")


def default_pattern(extent: Extent, causal: bool, window: int | None) -> Callable[..., Any]:
    """The mask function that the arguments of a call speak of: a window that is two-sided ends before its size, as
    everywhere in transformers."""
    if not causal:
        one = bidirectional_mask_function
        return one if window is None else sliding_window_bidirectional_mask_function(window - 1)
    if extent.rows == 1 and window is None:
        return bidirectional_mask_function
    return causal_mask_function if window is None else sliding_window_causal_mask_function(window)


def require_within(
    mechanism: Mechanism, extent: Extent, mask_function: Callable[..., Any], window: int | None = None
) -> None:
    """ArgumentError where a row of the file may see a key that the model's mask hides. All keys of 256 rows are looked
    at, half from either end; of fewer, all rows."""
    if mask_function is bidirectional_mask_function:
        return
    half = _ROWS_CHECKED // 2
    rows = torch.arange(extent.rows, device="cpu")
    if extent.rows > _ROWS_CHECKED:
        rows = torch.cat((rows[:half], rows[-half:]))
    seen = keys_seen(mechanism.guards, mechanism.known_params(window), (extent.rows, extent.keys), rows)
    batch = torch.arange(extent.batch, device="cpu").view(-1, 1, 1, 1)
    head = torch.zeros(1, 1, 1, 1, dtype=torch.int64, device="cpu")
    position = (rows + extent.row_offset).view(1, 1, -1, 1)
    keys = (torch.arange(extent.keys, device="cpu") + extent.key_offset).view(1, 1, 1, -1)
    shown = torch.as_tensor(
        mask_function(*(t.to(extent.device) for t in (batch, head, position, keys)))
    ).cpu()
    if (outside := (seen & ~shown).nonzero()).numel():
        at, key = outside[0, 2:].tolist()
        name = mechanism.cascade.name
        what = f"row {int(rows[at])} of {name} may see key {key}, which the model's mask hides"
        raise mechanism.error(what, f"hide it in the file, or take the model's mask: input {_WHOLE}")


def whole_mask(
    declared: Input, mask: Tensor | None, pattern: Callable[..., Any], extent: Extent, dtype: torch.dtype,
    mechanism: Mechanism,
) -> Tensor:  # fmt: skip
    """A model's mask as the file declares it: bool[b, h, i, j], or the number to add. ``mask``: a whole one, one of
    padding, or None; for these two ``pattern`` says what rows see."""
    if mask is None or mask.dim() == 2:
        mask = sdpa_mask(
            extent.batch, extent.rows, extent.keys, extent.row_offset, 0, pattern, mask, device=extent.device,
            allow_is_causal_skip=False,
        )  # fmt: skip
        assert mask is not None
    if declared.dtype == "bool":
        if mask.dtype == torch.bool:
            return mask
        shown = mask == 0
        if not bool((shown | (mask <= torch.finfo(mask.dtype).min / 2)).all()):
            what = "the model's mask adds numbers, of which 'mask: bool' would lose all but zero"
            raise mechanism.error(what, "declare it without a dtype, and add it to the scores", declared.span)
        return shown
    if mask.dtype != torch.bool:
        return mask.clamp(min=_HIDDEN)
    return torch.zeros((), dtype=dtype, device=mask.device).where(mask, _HIDDEN)


def lengths_of(padding: Tensor, declared: Input, mechanism: Mechanism) -> Tensor:
    """How many keys each sequence has, from bool[b, j]. ArgumentError where padding stands before a key."""
    if bool((padding[:, 1:] & ~padding[:, :-1]).any()):
        what = "there is padding before keys, of which lengths[b] cannot tell"
        raise mechanism.error(what, "pad at the end, or declare keep[b, j]: bool", declared.span)
    return padding.sum(1)
