"""The whole normal form: what it makes of attention, and that it keeps the meaning of anything."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_dsl.ir.printer import print_cascade
from attn_dsl.language.load import load_text
from attn_dsl.reference import evaluate
from attn_dsl.rewrites import normal_form
from tests.rewrites.programs import SIZES, programs
from tests.rewrites.texts import LOG2_E, assert_rewritten, load

SOFTMAX = """
    S[i,j] += Q[i,d] * K[j,d]
    X[i,j] = S[i,j] / sqrt(size(d)) where j <= i
    m[i] max= X[i,j]
    w[i,j] = exp(X[i,j] - detach(m[i]))
    l[i] += w[i,j]
    P[i,j] = w[i,j] / l[i]
    O[i,e] += P[i,j] * V[j,e]
"""


def test_softmax_attention() -> None:
    """One constant before the exponential, one division a row after the loop."""
    after = f"""
        S[i,j] += Q[i,d] * K[j,d]
        m_max[i] max= S[i,j] where j <= i
        w[i,j] = exp2((S[i,j] - detach(m_max[i])) * ({LOG2_E} / sqrt(size(d)))) where j <= i
        l[i] += w[i,j]
        O_sum[i,e] += w[i,j] * V[j,e]
        O[i,e] = O_sum[i,e] / l[i]"""
    assert_rewritten(normal_form(load(SOFTMAX, "O[i, e]")), after, "O[i, e]")


def test_a_soft_cap_is_computed_once() -> None:
    """The maximum and the exponential share the tanh, which neither scales."""
    result = normal_form(load(SOFTMAX.replace("S[i,j] / sqrt(size(d))", "5 * tanh(S[i,j])"), "O[i, e]"))
    text = print_cascade(result)
    assert text.count("tanh(") == 1
    assert [s.target for s in result.statements] == ["S", "X_tanh", "m_max", "w", "l", "O_sum", "O"]


def test_differential_attention_divides_each_part_by_its_own_normaliser() -> None:
    second = SOFTMAX.replace("[i,d]", "[i,d] * 2").replace("O[i,e] += P[i,j] * V[j,e]", "")
    for name in "SXmwlP":
        second = second.replace(f"{name}[", f"{name}2[")
    first = SOFTMAX.replace("O[i,e] += P[i,j] * V[j,e]", "")
    text = first + second + "O[i,e] += (P[i,j] - r[i] * P2[i,j]) * V[j,e]"
    result = normal_form(load(text, "O[i, e]"))
    assert [s.target for s in result.statements][-5:] == ["O_1_sum", "O_1", "O_2_sum", "O_2", "O"]


@settings(max_examples=120, deadline=None)
@given(programs(), st.integers(0, 2**31))
def test_the_meaning_is_kept(text: str, seed: int) -> None:
    cascade = load_text(text).cascade
    generator = torch.Generator().manual_seed(seed)
    arguments = {
        t.name: torch.rand([SIZES[d] for d in t.dims], generator=generator, dtype=torch.float64) * 3 - 1.5
        for t in cascade.inputs
    }
    result = normal_form(cascade)
    assert normal_form(result) == result
    wanted = evaluate(cascade, {}, arguments, SIZES)
    found = evaluate(result, {}, arguments, SIZES)
    for name, value in wanted.items():
        if value.isfinite().all() and value.abs().max() < 1e8:  # no meaning is left in what overflows
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6)
