"""The tile program of a kernel, from its plan."""

from __future__ import annotations

from attn_dsl.codegen.lowering.stream.kernel import StreamKernel

__all__ = ["StreamKernel"]
