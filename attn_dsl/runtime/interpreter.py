"""Run Triton kernels without a GPU, by Triton's interpreter, in this process.

Triton decides at import, by an environment variable, whether the functions of its own standard library are
compiled or interpreted. So that a kernel can be interpreted here and compiled ahead of time there, for the
time of an interpreted launch those functions stand replaced by interpreted ones. This is for testing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from attn_dsl.runtime import bfloat16

_LOCK = threading.RLock()


@lru_cache(maxsize=1)
def _replacements() -> list[tuple[Any, str, Any, Any]]:
    import importlib

    importlib.import_module("triton.experimental.gluon")  # launches import it; it must see the originals
    import triton.language as tl
    from triton.language import core, math, random, standard
    from triton.runtime.interpreter import InterpretedFunction
    from triton.runtime.jit import JITFunction

    made: dict[int, Any] = {}
    found: list[tuple[Any, str, Any, Any]] = []
    for module in (standard, random, tl, math, core):
        for name, value in list(vars(module).items()):
            if isinstance(value, JITFunction):
                interpreted = made.setdefault(id(value), InterpretedFunction(value.fn))
                found.append((module, name, value, interpreted))
    for method, value in list(vars(core.tensor).items()):
        if isinstance(value, JITFunction):
            found.append(
                (core.tensor, method, value, made.setdefault(id(value), InterpretedFunction(value.fn)))
            )
    return found + bfloat16.operations()


@contextmanager
def interpreting() -> Generator[None]:
    """Triton's standard library is interpreted inside this context; one thread at a time."""
    with _LOCK:
        replaced = _replacements()
        for owner, name, _, interpreted in replaced:
            setattr(owner, name, interpreted)
        try:
            yield
        finally:
            for owner, name, original, _ in replaced:
                setattr(owner, name, original)


def interpreted(function: Callable[..., None]) -> Any:
    """A kernel that runs by interpretation."""
    from triton.runtime.interpreter import InterpretedFunction

    return InterpretedFunction(function)
