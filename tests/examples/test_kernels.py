"""Every example's kernels, native and by Triton's interpreter, agree with the float64 reference, within
bounds derived from the data (attn_dsl.testing.tolerance)."""

from __future__ import annotations

import pytest

import attn_dsl
from attn_dsl.testing.checking import failure
from attn_dsl.testing.layouts import Layout
from attn_dsl.testing.strategies import Example
from tests.examples.cases import CASES, EXAMPLES, example_names

# Selection by rank has no kernels yet: its own test says how that is told.
NOT_LOWERED = {"coming/block_selection": "topk"}
LOWERED = [name for name in example_names() if name not in NOT_LOWERED]


def compiled(name: str, target: str) -> attn_dsl.Attention:
    """The example, with params small enough for its masks to bite."""
    return attn_dsl.compile(EXAMPLES / f"{name}.attn", params=CASES[name].params, target=target)


def small_call(attention: attn_dsl.Attention, name: str, dtype: str) -> Example:
    """The call of ``CASES``, floating inputs of no declared dtype in ``dtype``."""
    arguments = CASES[name].arguments(attention.cascade, dtype)
    return Example(
        arguments, CASES[name].all_sizes(attention.cascade), dict.fromkeys(arguments, Layout.CONTIGUOUS)
    )


@pytest.mark.parametrize(
    ("target", "dtype"),
    [("cpu", "f64"), ("interpreter", "f32"), ("interpreter", "bf16"), ("interpreter", "f16")],
)
@pytest.mark.parametrize("name", LOWERED)
def test_kernels_compute_what_the_file_says(name: str, target: str, dtype: str) -> None:
    attention = compiled(name, target)
    assert failure(attention, small_call(attention, name, dtype)) == ""


@pytest.mark.parametrize(("name", "construct"), NOT_LOWERED.items())
@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_what_is_not_lowered_says_so(name: str, construct: str, target: str) -> None:
    attention = compiled(name, target)
    given = small_call(attention, name, "f32").arguments
    with pytest.raises(attn_dsl.NotLoweredError, match=construct) as caught:
        attention(**given)
    assert f"{name}.attn:" in str(caught.value) and "= help:" in str(caught.value)
