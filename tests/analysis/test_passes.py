"""How many passes mechanisms take, which reductions fold, and why others do not."""

from __future__ import annotations

import pytest

from attn_dsl.analysis.passes import PassAnalysis, analyse_passes
from attn_dsl.analysis.report import describe_passes
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.printer import print_expr
from attn_dsl.rewrites import normal_form
from tests.rewrites.texts import LOG2_E, load

SOFTMAX = """
    S[i,j] += Q[i,d] * K[j,d]
    X[i,j] = S[i,j] / sqrt(size(d)) where j <= i
    m[i] max= X[i,j]
    w[i,j] = exp(X[i,j] - detach(m[i]))
    l[i] += w[i,j]
    P[i,j] = w[i,j] / l[i]
    O[i,e] += P[i,j] * V[j,e]
"""


def over_keys(cascade: Cascade, *, fold: bool = True) -> PassAnalysis:
    """The passes over j of everything reduced over j, and of what shares state with it."""
    einsums = [s for s in cascade.statements if isinstance(s, Einsum) and s.reduce is not None]
    streamed = {s.target: frozenset("j") for s in einsums if "j" in s.over}
    return analyse_passes(cascade, streamed, fold=fold)


def rows(statements: str, output: str = "Z[i]") -> Cascade:
    """A cascade whose output nobody looks at."""
    return load(f"{statements}\nZ[i] = r[i]", output)


def test_softmax_attention_takes_three_passes_as_written_two_hoisted_one_folded() -> None:
    """The counts of FuseMax (Nayak et al., 2024): maximum, normaliser, output; division hoisted; online."""
    written = load(SOFTMAX, "O[i, e]")
    hoisted = normal_form(written)
    assert over_keys(written, fold=False).count == 3
    assert over_keys(hoisted, fold=False).count == 2
    assert over_keys(hoisted).count == 1
    assert over_keys(written).count == 1


def test_the_online_softmax_is_derived() -> None:
    """Milakov and Gimelshein (2018): the normaliser is rescaled by exp(old maximum - new maximum)."""
    analysis = over_keys(rows("m[i] max= x[i,j]\nl[i] += exp2(x[i,j] - m[i])"))
    fold = analysis.folds["l"]
    assert (fold.on, fold.kind) == (("m",), "ratio")
    assert print_expr(fold.correction).replace(" ", "") == "exp2(old:m[i]-new:m[i])"
    assert analysis.order == ("m", "l")


@pytest.mark.parametrize(
    ("body", "folds"),
    [
        ("exp(x[i,j] - m[i]) * c[j]", True),
        ("exp(x[i,j] - m[i]) * exp(y[i,j] - m[i])", True),
        ("(exp2(x[i,j] - m[i])) ** 2", True),
        ("exp(x[i,j] - m[i]) * x[i,j]", True),
        ("exp(x[i,j] - m[i]) + c[j] * exp(-m[i])", False),  # c counts where x is -inf
        ("exp((x[i,j] - m[i]) / exp(t))", True),
        ("exp((x[i,j] - m[i]) / t)", False),  # t may be negative
        ("exp(y[i,j] + m[i])", False),
        ("exp(x[i,j] + m[i])", True),
        ("exp(x[i,j] - max(m[i], 0))", True),
        ("exp(x[i,j] - m[i]) * (x[i,j] - m[i])", False),  # an entropy about the maximum
        ("exp(x[i,j] - m[i]) + 1", False),
        ("sigmoid(x[i,j] - m[i])", False),
        ("relu(x[i,j] - m[i])", False),
        ("exp(x[i,j] * m[i])", False),
        ("x[i,j] * m[i]", False),  # m may pass through 0
        ("x[i,j] / m[i]", False),
        ("x[i,j] if x[i,j] < m[i] else 0", False),
    ],
)
def test_sums_that_follow_a_maximum(body: str, folds: bool) -> None:
    analysis = over_keys(rows(f"m[i] max= x[i,j]\na[i] += {body}"))
    assert analysis.level["a"] == (0 if folds else 1)
    assert ("a" in analysis.folds) == folds
    assert [b.target for b in analysis.breaks] == ([] if folds else ["a"])


def test_a_positive_normaliser_may_divide_a_sum() -> None:
    analysis = over_keys(rows("l[i] += exp(x[i,j])\na[i] += exp(x[i,j]) / l[i] * c[j]"))
    assert print_expr(analysis.folds["a"].correction).replace(" ", "") == "old:l[i]/new:l[i]"


def test_a_maximum_follows_a_shift() -> None:
    analysis = over_keys(rows("u[i] mean= x[i,j]\nm[i] max= x[i,j] * c[j] - 2 * u[i]"))
    fold = analysis.folds["m"]
    assert fold.kind == "difference"
    assert print_expr(fold.correction).replace(" ", "") == "2*old:u[i]-2*new:u[i]"


def test_one_softmax_over_two_streams_and_a_sink() -> None:
    text = """
        m[i] max= x[i,j]; m[i] max= Q[i,d]; m[i] max= r[i]
        l[i] += exp(x[i,j] - m[i]); l[i] += exp(Q[i,d] - m[i]); l[i] += exp(r[i] - m[i])"""
    streams = {"m": frozenset({"j", "d"}), "l": frozenset({"j", "d"})}
    analysis = analyse_passes(rows(text), streams)
    assert analysis.level == {"m": 0, "l": 0}
    assert "l" in analysis.folds


def test_a_result_must_exist_where_it_is_read() -> None:
    """Elements before the first one of the maximum would be lost."""
    text = "m[i] max= x[i,j] where j <= i\nl[i] += exp(y[i,j] - m[i])"
    analysis = over_keys(rows(text))
    assert analysis.level["l"] == 1
    assert "may not exist yet" in analysis.breaks[0].reason
    with_sink = over_keys(rows(text.replace("\n", "\nm[i] max= r[i]\n")))
    assert with_sink.level["l"] == 1
    assert with_sink.breaks[0].reason == "its elements may count where m is still -inf"
    with_floor = over_keys(rows(text.replace("\n", "\nm[i] max= 0.0\n")))
    assert with_floor.level["l"] == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a[i] += relu(x[i,j] - m[i])", "no factor of its own: relu(x[i, j] - m[i])"),
        ("a[i] += c[j] * m[i]", "divides by a value that may be 0 on the way: m[i]"),
        ("a[i] += x[i,j] where x[i,j] > m[i]", "its guard depends on a value that is not final yet"),
        ("a[i] *= exp(x[i,j] - m[i])", "only a sum, mean, maximum or minimum can be corrected"),
        ("a[i] += exp(x[i,j] - m[j])", "reads m at other places than its own indices"),
        ("n[i] += m[i] * Q[i,d]\na[i] += exp(x[i,j]) * n[i]", "uses n, which is reduced once more"),
        ("a[i] += exp(x[i,j] - m[i])\na[i] += c[j]", "its contributions need different corrections"),
    ],
)
def test_reasons(text: str, reason: str) -> None:
    analysis = over_keys(rows(f"m[i] max= x[i,j]\n{text}"))
    (found,) = analysis.breaks
    assert found.target == "a"
    assert found.needs == ("m",)
    assert reason.replace(" ", "") in found.reason.replace(" ", "")


def test_reweighting_by_a_threshold_takes_two_passes() -> None:
    """relu(n a - o) needs the final sum o: no fold, so the stream is walked twice."""
    text = """
        o[i] += exp(x[i,j])
        z[i] += relu(2 * exp(x[i,j]) - o[i])
        O[i,e] += relu(2 * exp(x[i,j]) - o[i]) / z[i] * V[j,e]"""
    analysis = over_keys(normal_form(load(text, "O[i, e]")))
    assert analysis.count == 2


def test_a_pass_is_counted_only_once_for_all_that_waits() -> None:
    text = """
        u[i] mean= x[i,j]
        v[i] += (x[i,j] - u[i]) ** 2
        k[i] += (x[i,j] - u[i]) ** 4
        q[i] += (x[i,j] - u[i]) ** 3 / sqrt(v[i])"""
    analysis = over_keys(rows(text))
    assert analysis.level == {"u": 0, "v": 1, "k": 1, "q": 2}


def test_the_report() -> None:
    text = "m[i] max= x[i,j]\nl[i] += exp2(x[i,j] - m[i])\na[i] += relu(x[i,j] - m[i])"
    cascade = rows(text)
    lines = describe_passes(cascade, over_keys(cascade)).replace("i, j", "i,j").splitlines()
    assert lines == [
        "pass 1: m max= over j, l += over j",
        "  l follows m: l * exp2(old_m[i] - new_m[i])",
        "pass 2: a += over j",
        "  a waits for m, because its dependence is no factor of its own: relu(x[i,j] - m[i])",
    ]


def test_the_fold_of_the_normal_form_keeps_the_constant_outside_the_difference() -> None:
    analysis = over_keys(normal_form(load(SOFTMAX, "O[i, e]")))
    text = print_expr(analysis.folds["l"].correction).replace(" ", "")
    assert text == f"exp2({LOG2_E}/sqrt(size(d))*(old:m_max[i]-new:m_max[i]))"
