"""Testing of mechanisms: property tests against the reference, with error bounds derived from the data.

    attn_dsl.testing.check(attention, examples=50)
    @given(attn_dsl.testing.examples(attention))    arguments of a call
    @given(attn_dsl.testing.specifications())       whole files

and a pytest plugin that takes ``.attn`` files as tests. Needs hypothesis: ``pip install attn_dsl[test]``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attn_dsl.testing.checking import check
    from attn_dsl.testing.mechanisms import specifications
    from attn_dsl.testing.strategies import examples
    from attn_dsl.testing.tolerance import compare

__all__ = ["check", "compare", "examples", "specifications"]

_HOMES = {
    "check": "checking",
    "compare": "tolerance",
    "examples": "strategies",
    "specifications": "mechanisms",
}


def __getattr__(name: str) -> Any:
    """Loaded on first use: pytest imports this package at every start, for its plugin."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
