"""CPU kernels that count their own multiply-adds, beside the account's figure."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import pytest
import torch

import attn_dsl
from attn_dsl.account import Analysis


def counted(attention: attn_dsl.Attention, arguments: Mapping[str, torch.Tensor]) -> int:
    """The multiply-adds of one call's forward kernels; the environment must have
    ATTN_DSL_CXXFLAGS=-DATTN_COUNT."""
    attention(*arguments.values())
    total = 0
    for _, library in attention.kernels._programs.values():
        library.attn_multiply_adds.restype = ctypes.c_int64
        total += library.attn_multiply_adds()
    return total


def accounted(
    attention: attn_dsl.Attention, arguments: Mapping[str, torch.Tensor], sizes: Mapping[str, int]
) -> Analysis:
    """The account of the same call: every integer input is a sample."""
    samples = {n: t for n, t in arguments.items() if not t.is_floating_point()}
    real = next(t.dtype for t in arguments.values() if t.is_floating_point())
    return attention.analyze(device="cpu", dtype=real, tensors=samples, **sizes)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels built from here on count."""
    monkeypatch.setenv("ATTN_DSL_CXXFLAGS", "-DATTN_COUNT -O1")
