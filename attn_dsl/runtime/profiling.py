"""Ranges in torch's profiler: which file's kernels a stretch of time belongs to."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

_NOTHING = nullcontext()


def named(name: str) -> AbstractContextManager[Any]:
    """A range ``attn_dsl::NAME`` where a profiler is on; else nothing."""
    if not torch.autograd._profiler_enabled():  # pyright: ignore
        return _NOTHING
    return torch.profiler.record_function(f"attn_dsl::{name}")
