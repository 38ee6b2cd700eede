"""Words that mean something in a Triton kernel, and are no names of a value there."""

from __future__ import annotations

import builtins
import keyword

_WORDS = frozenset({*keyword.kwlist, *dir(builtins), "tl", "triton"})


def is_reserved(name: str) -> bool:
    """Whether a name is a word of Python's, or of what the module imports. Its own functions begin with an
    underscore, as no name of a file's does."""
    return name in _WORDS
