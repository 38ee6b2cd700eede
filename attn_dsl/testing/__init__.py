"""Testing of mechanisms: property tests against the reference, with error bounds derived from the data.

    attn_dsl.testing.check(attention, examples=50)

and a pytest plugin that takes ``.attn`` files as tests. Needs hypothesis: ``pip install attn_dsl[test]``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attn_dsl.testing.checking import check
    from attn_dsl.testing.strategies import examples
    from attn_dsl.testing.tolerance import compare

__all__ = ["check", "compare", "examples"]

_HOMES = {"check": "checking", "compare": "tolerance", "examples": "strategies"}


def __getattr__(name: str) -> Any:
    """Loaded on first use: pytest imports this package at every start, for its plugin."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
