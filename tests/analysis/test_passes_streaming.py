"""Passes and folds hold: a kernel that follows them computes what the cascade means."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attn_dsl.analysis.passes import analyse_passes
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.language.load import load_text
from attn_dsl.reference import evaluate
from attn_dsl.rewrites import normal_form
from tests.analysis.streaming import Row
from tests.rewrites.programs import SIZES, programs


def stream(cascade: Cascade, arguments: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The outputs by the model of a kernel; 0 where they are absent."""
    einsums = [s for s in cascade.statements if isinstance(s, Einsum) and s.reduce is not None]
    streamed = frozenset(s.target for s in einsums if s.over)
    analysis = analyse_passes(cascade, {t: frozenset("j") for t in streamed})
    inputs = {
        name: {tuple(int(k) for k in slot): float(tensor[tuple(slot)]) for slot in _slots(tensor)}
        for name, tensor in arguments.items()
    }
    results = {o.name: torch.zeros([SIZES[d] for a in o.axes for d in a.indices]) for o in cascade.outputs}
    results = {name: tensor.double() for name, tensor in results.items()}
    for i in range(SIZES["i"]):
        row = Row(cascade, inputs, SIZES, analysis, streamed)
        row.run(i)
        for name, tensor in results.items():
            for slot in _slots(tensor):
                if slot[0] == i:
                    tensor[slot] = row.read(name, {}, slot) or 0.0
    return results


def _slots(tensor: torch.Tensor) -> list[tuple[int, ...]]:
    return [tuple(int(k) for k in slot) for slot in torch.ones(tensor.shape).nonzero()]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(), st.booleans(), st.integers(0, 2**31))
def test_a_kernel_that_follows_the_analysis_is_right(text: str, normalised: bool, seed: int) -> None:
    cascade = load_text(text).cascade
    if normalised:
        cascade = normal_form(cascade)
    generator = torch.Generator().manual_seed(seed)
    arguments = {
        t.name: torch.rand([SIZES[d] for d in t.dims], generator=generator, dtype=torch.float64) * 3 - 1.5
        for t in cascade.inputs
    }
    wanted = evaluate(cascade, {}, arguments, SIZES)
    found = stream(cascade, arguments)
    for name, value in wanted.items():
        if value.isfinite().all() and value.abs().max() < 1e6:
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5, check_dtype=False)
