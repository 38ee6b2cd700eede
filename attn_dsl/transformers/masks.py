"""The model's mask in the form that a file takes it, or the certainty that the file keeps it by itself.

A file may declare `mask` (which keys each row sees: bool, or the number that is added), `keep[b, j]` (which
keys are no padding) or `lengths[b]` (how many keys stand before the padding). A file without `mask` is asked
where its rows meet keys (`positions`): nothing is materialised if they see no more than the model's mask
allows. In a traced program (torch.compile, torch.export) what depends on lengths or data is asked when it
runs (`traced`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import (
    bidirectional_mask_function,
    causal_mask_function,
    prepare_padding_mask,
    sdpa_mask,
)
from transformers.utils.import_utils import is_tracing

from attn_dsl.ir.cascade import Input
from attn_dsl.transformers import traced
from attn_dsl.transformers.mechanism import Mechanism
from attn_dsl.transformers.within import WHOLE, Extent, require_within, shown, shown_to

MASKS = MASK, KEEP, LENGTHS = "mask", "keep", "lengths"
DECLARATIONS = f"{WHOLE}, or for padding alone keep[b, j]: bool or lengths[b]: i32"
# Added to hide a key: exp of it is 0, and it is so small that differences of scores survive in a row that
# sees nothing.
_HIDDEN = -1e4


def mask_interface(mechanism: Mechanism) -> Callable[..., Tensor | None]:
    """What transformers calls to make a mask: None, a mask of padding bool[b, j] or a whole one bool[b, 1, i,
    j]."""

    def make(
        *, batch_size: int, q_length: int, kv_length: int, q_offset: Any = 0, kv_offset: int = 0,
        mask_function: Callable[..., Any] = causal_mask_function, attention_mask: Tensor | None = None,
        allow_is_causal_skip: bool = True, allow_is_bidirectional_skip: bool = False,
        local_size: int | None = None, **kwargs: Any,
    ) -> Tensor | None:  # fmt: skip
        device = kwargs.get("device", "cpu")
        is_traced = is_tracing(attention_mask)
        offset = q_offset if is_traced else int(q_offset)
        extent = Extent(q_length, kv_length, offset, kv_offset, batch_size, device)
        if mask_function is not bidirectional_mask_function:
            require_last_row_at_last_key(mechanism, extent)
        require_positions(mechanism, extent)
        if mechanism.extra(MASK) is not None or not (allow_is_causal_skip or allow_is_bidirectional_skip):
            whole = sdpa_mask(
                batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask,
                allow_is_causal_skip=False, **kwargs,
            )  # fmt: skip
            if (
                whole is not None
                and is_traced
                and mechanism.extra(MASK) is None
                and _may_be_packed(mask_function, kwargs)
            ):
                _require_kept(mechanism, extent, mask_function, local_size)
                traced.mark(whole)
            return whole
        if is_traced:
            return _traced_padding(mechanism, extent, mask_function, attention_mask, local_size)
        require_within(mechanism, extent, mask_function, local_size)
        padding = _padding(attention_mask, extent)
        return None if padding is None or bool(padding.all()) else padding

    return make


def _padding(attention_mask: Tensor | None, extent: Extent) -> Tensor | None:
    """Which of the keys at hand are no padding."""
    padding = prepare_padding_mask(attention_mask, extent.keys, extent.key_offset)
    return None if padding is None else padding[:, extent.key_offset : extent.key_offset + extent.keys]


def _traced_padding(
    mechanism: Mechanism, extent: Extent, mask_function: Callable[..., Any], attention_mask: Tensor | None,
    window: int | None,
) -> Tensor | None:  # fmt: skip
    """The mask of padding, whatever is in it, if the file takes one; if not, there is none to be when the
    program runs."""
    if mask_function is not bidirectional_mask_function:
        traced.require_within(mechanism, shown(extent, mask_function), extent.rows, extent.keys, window)
    padding = _padding(attention_mask, extent)
    if padding is None or mechanism.extra(KEEP) is not None or mechanism.extra(LENGTHS) is not None:
        return padding
    what = f"there is padding, which {mechanism.cascade.name} does not take"
    traced.require(padding.all(), what, f"declare input {DECLARATIONS}")
    return None


def _may_be_packed(mask_function: Callable[..., Any], asked: Mapping[str, Any]) -> bool:
    """Whether a mask that transformers wants whole is of the kind that it wants so because it cannot read
    position ids while it traces: the model's own pattern and "of the same sequence"."""
    return not asked.get("use_vmap") and mask_function.__name__ == "and_mask"


def _require_kept(
    mechanism: Mechanism, extent: Extent, mask_function: Callable[..., Any], window: int | None
) -> None:
    """Have the program check that the file keeps the mask, and that sequences are not packed and no blocks of
    tokens see each other: then each token sees the one before it, and not the one after it."""
    traced.require_within(mechanism, shown(extent, mask_function), extent.rows, extent.keys, window)
    if window == 1:
        return
    at = torch.arange(extent.rows, device=extent.device)
    next = (at + 1).clamp(max=extent.rows - 1).view(1, 1, -1, 1)
    before = shown_to(extent, mask_function, at, (at - 1).clamp(min=0).view(1, 1, -1, 1))
    after = shown_to(extent, mask_function, at, next) & (next != at.view(1, 1, -1, 1))
    what = "position_ids are of packed sequences, or the mask is of chunks or blocks"
    help = f"give attention_mask with one sequence a row, or take input {WHOLE}"
    traced.require(
        (before & ~after).all(), f"{what}, which {mechanism.cascade.name} does not keep apart", help
    )


def require_positions(mechanism: Mechanism, extent: Extent) -> None:
    """ArgumentError where rows or keys are not the whole sequence and the file counts them from its start."""
    cascade, row, key = mechanism.cascade, mechanism.row, mechanism.key
    if extent.rows != extent.keys and (line := mechanism.counting.rows_from_start) is not None:
        what = f"{extent.rows} rows for {extent.keys} keys, and {cascade.name} counts rows from the first key"
        raise mechanism.error(what, f"a row is at {row} + size({key}) - size({row}): causal_at_end", line)
    if extent.key_offset and (line := mechanism.counting.keys_from_start) is not None:
        dropped = f"the cache has dropped {extent.key_offset} keys"
        what = f"{dropped}, and {cascade.name} counts keys from the first"
        raise mechanism.error(what, f"count from the last: {key} - size({key})", line)


def require_last_row_at_last_key(mechanism: Mechanism, extent: Extent) -> None:
    """ArgumentError where a cache has room for keys to come, and the file counts rows from the last of its
    keys."""
    if not mechanism.counting.mentions_rows:
        return
    where = f"in {mechanism.cascade.name} at the last: a static cache"
    help = "use a dynamic cache, which holds the keys there are"
    if isinstance(extent.row_offset, Tensor):
        raise mechanism.error(f"the last row is anywhere among {extent.keys} keys, {where}", help)
    last = extent.row_offset + extent.rows, extent.key_offset + extent.keys
    if last[0] != last[1]:
        raise mechanism.error(f"the last row is at {last[0] - 1} of {last[1]} keys, {where}", help)


def whole_mask(
    declared: Input, mask: Tensor | None, pattern: Callable[..., Any], extent: Extent, dtype: torch.dtype,
    mechanism: Mechanism,
) -> Tensor:  # fmt: skip
    """A model's mask as the file declares it: bool[b, h, i, j], or the number to add. ``mask``: a whole one,
    one of padding, or None; for these two ``pattern`` says what rows see."""
    if mask is None or mask.dim() == 2:
        mask = sdpa_mask(
            extent.batch, extent.rows, extent.keys, extent.row_offset, 0, pattern, mask, device=extent.device,
            allow_is_causal_skip=False,
        )  # fmt: skip
        assert mask is not None
    if declared.dtype == "bool":
        if mask.dtype == torch.bool:
            return mask
        seen = mask == 0
        what = "the model's mask adds numbers, of which 'mask: bool' would lose all but zero"
        help = "declare it without a dtype, and add it to the scores"
        _require((seen | (mask <= torch.finfo(mask.dtype).min / 2)).all(), mechanism, what, help, declared)
        return seen
    if mask.dtype != torch.bool:
        return mask.clamp(min=_HIDDEN)
    return torch.zeros((), dtype=dtype, device=mask.device).where(mask, _HIDDEN)


def lengths_of(padding: Tensor, declared: Input, mechanism: Mechanism) -> Tensor:
    """How many keys each sequence has, from bool[b, j]. ArgumentError where padding stands before a key."""
    what = "there is padding before keys, of which lengths[b] cannot tell"
    help = "pad at the end, or declare keep[b, j]: bool"
    _require(~(padding[:, 1:] & ~padding[:, :-1]).any(), mechanism, what, help, declared)
    return padding.sum(1)


def _require(condition: Tensor, mechanism: Mechanism, what: str, help: str, declared: Input) -> None:
    """ArgumentError now, or when a traced program runs, where data do not fit."""
    if is_tracing(condition):
        traced.require(condition, what, help)
    elif not bool(condition):
        raise mechanism.error(what, help, declared.span)
