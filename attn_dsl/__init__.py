"""A compiler for attention: a mechanism written as a cascade of Einsums becomes a kernel.

    attention = attn_dsl.compile("sliding_window.attn", window=512)
    out = attention(q, k, v)

``compile`` and ``Attention`` bring torch and are imported when first used, so that ``attn check`` is quick;
so are ``attn_dsl.nn`` (a torch module) and ``attn_dsl.transformers`` (in a model of that library).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
from attn_dsl.version import __version__

if TYPE_CHECKING:
    from attn_dsl.runtime.attention import Attention, compile


def __getattr__(name: str) -> Any:
    if name in ("nn", "transformers"):
        return import_module(f"attn_dsl.{name}")
    if name not in ("Attention", "compile"):
        raise AttributeError(f"module 'attn_dsl' has no attribute '{name}'")
    from attn_dsl.runtime import attention

    return getattr(attention, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "nn", "transformers"})


__all__ = [
    "ArgumentError",
    "Attention",
    "AttnError",
    "CacheError",
    "Diagnostic",
    "LanguageError",
    "NotLoweredError",
    "Schedule",
    "TargetError",
    "__version__",
    "compile",
]
