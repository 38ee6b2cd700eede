"""How often the kernel of each example looks at its stream."""

from __future__ import annotations

import pytest

from attn_dsl.cli.lowering import example_params
from attn_dsl.language.load import load_file
from attn_dsl.planning import plan
from tests.examples.cases import EXAMPLES, example_names

# A nonlinearity stands between these reductions and the sum they need; all others fold into one pass.
TWO_PASSES = {
    "normalisers/entropy_of_weights",
    "normalisers/parameter_tokens",
    "normalisers/softplus_reweighted",
}


def passes(name: str) -> int:
    """The passes of the kernel that takes the most."""
    cascade = load_file(EXAMPLES / f"{name}.attn").cascade
    found = plan(cascade, example_params(cascade))
    return max(found.passes(kernel).count for kernel in found.kernels)


@pytest.mark.parametrize("name", [name for name in example_names() if not name.startswith("coming/")])
def test_passes(name: str) -> None:
    assert passes(name) == (2 if name in TWO_PASSES else 1)
