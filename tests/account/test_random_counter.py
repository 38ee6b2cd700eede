"""Random mechanisms: what their CPU kernels count is what was accounted for."""

from __future__ import annotations

import pytest

import attn_dsl
from attn_dsl.errors import NotLoweredError
from attn_dsl.runtime.sizes import solve_sizes
from attn_dsl.testing.choices import spread
from attn_dsl.testing.mechanisms import mechanism
from tests.account.counted import accounted, counted, counting

__all__ = ["counting"]
SEED = 47


def agrees(number: int) -> bool | None:
    """Whether the two agree; None where there is no kernel, or no product in it."""
    found = mechanism(spread(SEED, number))
    try:
        attention = attn_dsl.compile(found.text, target="cpu", schedule=found.schedule, params=found.params)
        arguments = found.example.arguments
        sizes = solve_sizes(attention.cascade, attention.params, arguments)
        named = {n: v for n, v in sizes.items() if not n.startswith("_")}
        analysis = accounted(attention, arguments, named)
        executed = counted(attention, arguments)
    except NotLoweredError:
        return None
    assert analysis.forward is not None
    exact = all(loop.exact for kernel in analysis.forward.kernels for loop in kernel.loops)
    accounted_for = analysis.forward.contractions.executed
    assert not exact or 2 * executed == accounted_for, f"{executed}, {accounted_for / 2}\n{found}"
    assert 2 * executed <= accounted_for, found.text
    return exact and executed > 0


@pytest.mark.usefixtures("counting")
def test_random_mechanisms_count_what_is_accounted_for() -> None:
    found = [agrees(number) for number in range(5)]
    assert found.count(True) >= 2
