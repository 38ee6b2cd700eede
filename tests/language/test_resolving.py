"""What statements and declarations become in the cascade."""

from __future__ import annotations

from attn_dsl.ir.cascade import Einsum, Index, Ranking, Reduction
from attn_dsl.ir.expr import Const, IndexVar, Read
from attn_dsl.language.load import load_text
from tests.language.loading import HEAD, SCORES, cascade, statements


def einsum(text: str, target: str) -> Einsum:
    found = cascade(text).definitions(target)[-1]
    assert isinstance(found, Einsum)
    return found


def test_a_sum_reduces_what_stands_only_on_the_right() -> None:
    scores = einsum(SCORES, "S")
    assert (scores.reduce, scores.over, scores.dims) == (Reduction.SUM, ("d",), ("b", "h", "i", "j"))


def test_an_index_of_the_guard_alone_is_reduced() -> None:
    assert einsum("A[i] += w where j <= i", "A").over == ("j",)


def test_every_reduction() -> None:
    for reduction in Reduction:
        body = "keep[b,j]" if reduction in (Reduction.ANY, Reduction.ALL) else "V[b,h,j,e]"
        assert einsum(f"A[b] {reduction.value}= {body}", "A").reduce is reduction


def test_composites_split() -> None:
    text = """attention a
input Q[b, h=(g r), i], K[b, g, i], slope[h]
A[b,h,i] = Q[b,h,i] * K[b,g,i] * slope[h] * h / size(h)
output A[b,h,i]
"""
    made = load_text(text).cascade
    assert made.inputs[0].dims == ("b", "g", "r", "i")
    assert made.inputs[2].dims == ("g", "r")
    assert made.statements[0].dims == ("b", "g", "r", "i")
    assert [axis.indices for axis in made.outputs[0].axes] == [("b",), ("g", "r"), ("i",)]
    plain = text.replace("* h / size(h)", "* (g * size(r) + r) / (size(g) * size(r))")
    assert load_text(plain).cascade.statements == made.statements


def test_lets_masks_and_functions_are_inlined() -> None:
    long = """let half = w // 2
mask near = i - j < half
def scaled(x, i) = x * i
def either(p, q) = p or q
X[b,h,i,j] = scaled(S[b,h,i,j], j) where near and either(j <= i, i == 0)"""
    short = "X[b,h,i,j] = S[b,h,i,j] * j where i - j < w // 2 and (j <= i or i == 0)"
    assert statements(SCORES + long) == statements(SCORES + short)
    assert [mask.name for mask in cascade(SCORES + long).masks] == ["near"]


def test_a_parameter_bound_to_an_index_has_its_size() -> None:
    assert statements("def last(x) = x == size(x) - 1\nA[i] = last(i)") == ["A[i] = i == size(i) - 1"]


def test_a_cascade_function_becomes_statements() -> None:
    made = statements(SCORES + "P[b,h,i,j] = softmax[j](S[b,h,i,j])")
    assert made[1:] == [
        "P_m[b,h,i] max= S[b,h,i,j]",
        "P_w[b,h,i,j] = exp(S[b,h,i,j] - detach(P_m[b,h,i]))",
        "P_l[b,h,i] += P_w[b,h,i,j]",
        "P[b,h,i,j] = P_w[b,h,i,j] / P_l[b,h,i]",
    ]


def test_a_formal_index_may_stand_for_several() -> None:
    made = cascade("index u < 4\nindex v < 4\nX[i,u,v] = i + u * v\nP[i,u,v] = softmax[u,v](X[i,u,v])")
    maximum = made.definitions("P_m")[0]
    assert isinstance(maximum, Einsum)
    assert (maximum.dims, maximum.over) == (("i",), ("u", "v"))


def test_what_does_not_vary_is_not_summed() -> None:
    text = SCORES + "P[b,h,i,j] = softmax_sink[j](S[b,h,i,j], c)"
    parts = [s.over for s in cascade(text).definitions("P_l") if isinstance(s, Einsum)]
    assert parts == [("j",), ()]


def test_calls_nest_and_stand_inside_expressions() -> None:
    text = "def twice[j](x) { y = softmax[j](x); return y * y }\nP[b,h,i,j] = 1 - twice[j](S[b,h,i,j])"
    made = cascade(SCORES + text)
    assert made.definitions("P_m") and made.definitions("P_l")
    assert statements(SCORES + text)[-1].startswith("P[b,h,i,j] = 1 - ")


def test_two_calls_in_one_statement_keep_their_locals_apart() -> None:
    text = "P[b,h,i,j] = softmax[j](S[b,h,i,j]) - softmax[j](-S[b,h,i,j])"
    made = cascade(SCORES + text)
    assert len(made.definitions("P_m")) == len(made.definitions("P_m2")) == 1


def test_keyed_reduction() -> None:
    made = load_text(
        HEAD
        + SCORES
        + "index o < size(i) + size(j) - 1\nD[b,h,i - j + size(j) - 1] += S[b,h,i,j]\noutput D[b,h,o]"
    ).cascade
    keyed = made.definitions("D")[0]
    assert isinstance(keyed, Einsum)
    assert (keyed.dims, keyed.over, keyed.is_keyed) == (("b", "h", "o"), (), True)


def test_rankings() -> None:
    text = "A[b,h,i,j] = topk[j](S[b,h,i,j], w) where j <= i\nM[b,h,i] = argmax[j](S[b,h,i,j])"
    top, best = (s for s in cascade(SCORES + text).statements if isinstance(s, Ranking))
    assert (top.over, top.dims, top.count is None) == ("j", ("b", "h", "i", "j"), False)
    assert (best.over, best.dims, best.count) == ("j", ("b", "h", "i"), None)


def test_anonymous_dimensions() -> None:
    made = load_text(
        "attention a\nparam n: int = 8\ninput T[i, _, 4, n]\nA[i] = T[i,i,0,1]\noutput A[i]"
    ).cascade
    assert made.inputs[0].dims == ("i", "_T_1", "_T_2", "_T_3")
    assert made.index("_T_1").size is None
    assert made.index("_T_2").size == Const(4)
    assert made.index("_T_3").size is not None


def test_a_data_dependent_extent() -> None:
    head = "attention a\ninput length[b]: i32, K[b,j]\nindex j < length[b]\nA[b] += K[b,j]\noutput A[b]"
    assert load_text(head).cascade.index("j") == Index("j", None, Read("length", (IndexVar("b"),)))


def test_streams_share_a_tensor() -> None:
    made = cascade("A[b,h] max= Q[b,h,i,d]\nA[b,h] max= K[b,h,j,d]\nA[b,h] max= c")
    assert [s.over for s in made.definitions("A") if isinstance(s, Einsum)] == [("i", "d"), ("j", "d"), ()]
