"""A compiler for attention: a mechanism written as a cascade of Einsums becomes a kernel.

    attention = attn_dsl.compile("sliding_window.attn", window=512)
    out = attention(q, k, v)
"""

from attn_dsl.codegen.schedule import Schedule
from attn_dsl.errors import (
    ArgumentError,
    AttnError,
    CacheError,
    Diagnostic,
    LanguageError,
    NotLoweredError,
    TargetError,
)
from attn_dsl.runtime.attention import Attention, compile  # noqa: A004
from attn_dsl.version import __version__

__all__ = [
    "ArgumentError", "AttnError", "Attention", "CacheError", "Diagnostic", "LanguageError", "NotLoweredError",
    "Schedule", "TargetError", "__version__", "compile",
]  # fmt: skip
