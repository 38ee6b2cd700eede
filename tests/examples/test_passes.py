"""How often the kernel of each example looks at its stream."""

from __future__ import annotations

import pytest

from attn_dsl.analysis.passes import analyse_passes
from attn_dsl.codegen.dependence import Dependence
from attn_dsl.codegen.partition import partition
from attn_dsl.language.load import load_file
from attn_dsl.rewrites import normal_form
from tests.examples.cases import EXAMPLES, example_names

# A nonlinearity stands between these reductions and the sum they need; all others fold into one pass.
TWO_PASSES = {
    "normalisers/entropy_of_weights",
    "normalisers/parameter_tokens",
    "normalisers/softplus_reweighted",
}


def passes(name: str) -> int:
    """The passes of the kernel that takes the most."""
    cascade = normal_form(load_file(EXAMPLES / f"{name}.attn").cascade)
    flow = Dependence(cascade)
    roles, plans = partition(cascade, flow)
    streams = [{t: flow.over(t) & roles.streams for t in plan.targets} for plan in plans]
    return max(analyse_passes(cascade, s).count for s in streams)


@pytest.mark.parametrize("name", [name for name in example_names() if not name.startswith("coming/")])
def test_passes(name: str) -> None:
    assert passes(name) == (2 if name in TWO_PASSES else 1)
