"""What random mechanisms have found, made small: each text once gave a wrong result or a crash."""

from __future__ import annotations

import pytest
import torch

import attn_dsl

HEAD = "attention find\ninput Q[b, i, d], K[b, j, d], V[b, j, e]\n"
SCORES = "S[b,i,j] += Q[b,i,d] * K[b,j,d]\n"
TAIL = "O[b,i,e] += P[b,i,j] * V[b,j,e]\noutput O[b, i, e]\n"
FINDS = {
    # The count of a second mean asked for the presence of the first as if that were a reduction of its own.
    "mean of a mean": HEAD
    + SCORES
    + """X[b,i,j] = S[b,i,j] * 0.3  where S[b,i,j] > -0.5
mu[b,i] mean= X[b,i,j]
var[b,i] mean= (X[b,i,j] - mu[b,i]) ** 2
P[b,i,j] = softmax[j]((X[b,i,j] - mu[b,i]) * rsqrt(var[b,i] + 0.5))
"""
    + TAIL,
    # A predicate without the reduced index kept a score from being a product of tiles.
    "guard that selects nothing": HEAD + SCORES + "P[b,i,j] = softmax[j](S[b,i,j])  where j < 5\n" + TAIL,
    # A count whose guard asks whether an earlier result exists depends on that result, and waits for its
    # pass.
    "mean that waits for a mean": HEAD
    + SCORES
    + """p[b,i] += S[b,i,j]  where i & j == 0
X[b,i,j] = S[b,i,j]  where i & j == 0
q[b,i] mean= sin(p[b,i] if p[b,i] > X[b,i,j] else X[b,i,j] / 2)
t[b,i] mean= tanh(X[b,i,j] + relu(q[b,i]))
P[b,i,j] = X[b,i,j] * 0.1 + t[b,i]
"""
    + TAIL,
    # The maximum has met every element that the mean counts, though both are guarded by alternatives.
    "mean over alternatives": HEAD
    + "input G[b, i]: i32\n"
    + SCORES
    + """X[b,i,j] = S[b,i,j]  where ((G[b,i] >> (j % 8)) & 1 == 1 and j <= i) or i != j
P[b,i,j] = softmax[j](X[b,i,j])
O[b,i,e] mean= P[b,i,j] * V[b,j,e]
output O[b, i, e]
""",
    # The total of a mean and its count exist alike, but need not lie in one kernel.
    "mean whose count comes first": HEAD
    + "input rate[b, n]\n"
    + SCORES
    + """G[b,i] += -softplus(rate[b,n])  where n <= i
X[b,i,j] = S[b,i,j] + G[b,i] - default(G[b,j], 0)  where (i % 3 != j % 4) or (i < 5 and j // 6 < i // 6)
Z[b,i,j] = S[b,i,j]  where S[b,i,j] > 0
B[b,i,j] = softmax[j](X[b,i,j])
C[b,i,j] = softmax[j](Z[b,i,j])
O[b,i,e] mean= (B[b,i,j] - 0.3 * C[b,i,j]) * V[b,j,e]
output O[b, i, e]
""",
    # The scale of the scores is 0: what is corrected from nothing met so far must not be 0 * inf.
    "scale of zero": HEAD
    + "input heat[b, i]\n"
    + SCORES
    + "P[b,i,j] = softmax[j](S[b,i,j] * sigmoid(heat[b,i] * 1000 - 500))\n"
    + TAIL.replace("input", ""),
}
PLANE = """attention find
input Q[b, h, (x y), d], K[b, h, (u v), d], V[b, h, (u v), e]
index y < 3
index v < 3
S[b,h,x,y,u,v] += Q[b,h,x,y,d] * K[b,h,u,v,d]
D[b,h,x,y,u,v] = S[b,h,x,y,u,v]  where (x & u == 0 or h % 2 == 1) and u * 3 + v <= x * 3 + y
O[b,h,x,y,e] += D[b,h,x,y,u,v] * V[b,h,u,v,e]
output O[b, h, (x y), e]
"""


def agree(text: str, target: str, *arguments: torch.Tensor) -> None:
    attention = attn_dsl.compile(text, target=target)
    torch.testing.assert_close(
        attention(*arguments).double(), attention.reference(*arguments), atol=2e-5, rtol=2e-5
    )


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
@pytest.mark.parametrize("name", FINDS)
def test_finds(name: str, target: str) -> None:
    torch.manual_seed(3)
    arguments = [torch.randn(2, 9, 4), torch.randn(2, 21, 4), torch.randn(2, 21, 3)]
    if "rate" in FINDS[name]:
        arguments.append(torch.randn(2, 21))
    if "heat" in FINDS[name]:
        arguments.append(torch.randn(2, 9))
    if "i32" in FINDS[name]:
        arguments.append(torch.randint(0, 256, (2, 9), dtype=torch.int32))
    agree(FINDS[name], target, *arguments)


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_sum_over_no_features_is_absent_beside_another_reduction(target: str) -> None:
    """The guard speaks of the inner reduction's index only: that there are no features must not be lost."""
    text = """attention find
input Q[i, d], K[j, d], W[t], V[j, e]
Kc[j,d] += W[t] * K[j+t-2,d]
S[i,j] += Q[i,d] * Kc[j,d]
P[i,j] = softmax[j](S[i,j])
O[i,e] += P[i,j] * V[j,e]
output O[i, e]
"""
    agree(text, target, torch.randn(5, 0), torch.randn(7, 0), torch.randn(3), torch.randn(7, 3))


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_a_term_that_no_row_needs_does_not_empty_the_box(target: str) -> None:
    torch.manual_seed(3)
    agree(PLANE, target, torch.randn(2, 2, 15, 4), torch.randn(2, 2, 9, 4), torch.randn(2, 2, 9, 1))


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_a_maximum_that_is_infinite_does_not_change_any_more(target: str) -> None:
    """exp(inf - inf) is nan, but what does not change corrects nothing: the sum was exp(x - inf) = 0 all
    along."""
    text = """attention find
input A[i, j]
X[i,j] = A[i,j] / (i - j)
m[i] max= X[i,j]
w[i,j] = exp(X[i,j] - detach(m[i]))  where j < i
l[i] += w[i,j]
output l[i]
"""
    torch.manual_seed(0)
    agree(text, target, torch.rand(9, 70) + 0.1)


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
@pytest.mark.parametrize("size", [-1e20, 1e20])
def test_scores_that_are_huge_and_finite(size: float, target: str) -> None:
    """The weight of a row's maximum is 1: nothing of its size may be left in the exponent, as where only one
    of two products is rounded."""
    text = """attention find
input Q[i, d], K[j, d], V[j, e], bias[i, j]
S[i,j] += Q[i,d] * K[j,d]
X[i,j]  = S[i,j] / sqrt(size(d)) + bias[i,j]
P[i,j]  = softmax[j](X[i,j])
O[i,e] += P[i,j] * V[j,e]
R[i,e] += softmax[j](S[i,j] * 0.3) * V[j,e]
output O[i, e], R[i, e]
"""
    torch.manual_seed(0)
    bias = torch.zeros(5, 40)
    bias[2] = size
    q = torch.randn(5, 7)
    q[3] *= size
    attention = attn_dsl.compile(text, target=target)
    arguments = (q, torch.randn(40, 7), torch.randn(40, 3), bias)
    found, expected = attention(*arguments), attention.reference(*[a.float() for a in arguments])
    assert all(f.isfinite().all() for f in found)
    rows = [0, 1, 3, 4]  # in row 2 an f32 holds nothing of the scores beside the bias
    torch.testing.assert_close(found[0][rows].double(), expected[0][rows], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1].double(), expected[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_rows_are_present_by_their_full_tiles(target: str) -> None:
    """Where one term has bounds and another is tested, tiles that are full by the first are in no masked
    loop."""
    text = """attention find
input S[b, i, j], label[b, j]: i32, V[b, j, e]
X[b,i,j]  = S[b,i,j]  where i - j < 2 or label[b,j] == 0
O[b,i,e] += X[b,i,j] * V[b,j,e]
output O[b, i, e]
"""
    schedule = attn_dsl.Schedule(row_tile=16, stream_tile=16)
    attention = attn_dsl.compile(text, target=target, schedule=schedule)
    for keys in (16, 40):
        label = torch.arange(2 * keys).view(2, keys).int() % 3
        arguments = (torch.randn(2, 1, keys), label, torch.randn(2, keys, 4))
        torch.testing.assert_close(attention(*arguments), attention.reference(*arguments).float())


def test_a_flag_is_carried_round_all_loops() -> None:
    """The gradient of a query has elements by each of two streams, for one of which it depends on the
    feature."""
    text = """attention find
input Q[b, h, i, d], K[b, h, j, d], age[b, j], table[h, _], K2[b, h, n, d], V[b, h, j, e], V2[b, h, n, e]
S[b,h,i,j] max= Q[b,h,i,d] + K[b,h,j,d]
X[b,h,i,j]   = (S[b,h,i,j] - age[b,j]) / (1 + abs(age[b,j])) + table[h,i - j + 8]  where i - j < 7
T[b,h,i,n]  += Q[b,h,i,d] * K2[b,h,n,d]
Y[b,h,i,n]   = T[b,h,i,n]  where n % 2 == 0
O[b,h,i,e]  += X[b,h,i,j] * V[b,h,j,e]
O[b,h,i,e]  += Y[b,h,i,n] * V2[b,h,n,e]
output O[b,h,i,e]
"""
    attention = attn_dsl.compile(text, target="cpu")
    torch.manual_seed(0)
    shapes = ((1, 2, 7, 3), (1, 2, 5, 3), (1, 5), (2, 12), (1, 2, 4, 3), (1, 2, 5, 4), (1, 2, 4, 4))
    arguments = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    found = torch.autograd.grad(attention(*arguments).square().sum(), arguments)
    expected = torch.autograd.grad(attention.reference(*arguments).square().sum(), arguments)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_a_number_to_a_power_of_indices(target: str) -> None:
    """A base that is one number for all lanes, beside whole numbers of 64 bits."""
    text = """attention find
input S[i, j], V[j, e], code[j]: i64
X[i,j] = S[i,j] - 0.1 * (code[j] & 7)
O[i,e] += X[i,j] * 0.5 ** (i - j) * V[j,e]  where j <= i
output O[i, e]
"""
    torch.manual_seed(0)
    s, v, code = torch.randn(5, 5), torch.randn(5, 5), torch.arange(5)
    distance = torch.arange(5)[:, None] - code
    expected = ((s - 0.1 * (code & 7)) * 0.5**distance).tril() @ v
    torch.testing.assert_close(attn_dsl.compile(text, target=target)(s, v, code), expected)


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
@pytest.mark.parametrize("reduction", ["max", "mean"])
def test_a_projection_of_what_no_key_gave(target: str, reduction: str) -> None:
    """A sum within a tile asks no condition that holds for all of it or for none: what it gives for a row
    without keys is no 0, whatever the matrix holds."""
    text = f"""attention find
input Q[i, d], K[j, d], V[j, e], W[e, c]
S[i,j] += Q[i,d] * K[j,d]
P[i,j] = sigmoid(S[i,j])  where 3 * j < i
A[i,e] {reduction}= P[i,j] * V[j,e]
O[i,c] += A[i,e] * W[e,c]
output O[i, c]
"""
    generator = torch.Generator().manual_seed(0)
    q, k, v, w = (torch.randn(shape, generator=generator) for shape in ((5, 3), (5, 3), (5, 4), (4, 4)))
    w[1, 2] = -torch.inf
    terms = (q @ k.T).sigmoid()[:, :, None] * v
    rows = [terms[i, : -(-i // 3)] for i in range(1, 5)]
    a = torch.stack([r.amax(0) if reduction == "max" else r.mean(0) for r in rows])
    expected = torch.cat([torch.zeros(1, 4), a @ w])
    torch.testing.assert_close(attn_dsl.compile(text, target=target)(q, k, v, w), expected)


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_a_condition_of_the_result_alone(target: str) -> None:
    """It makes whole results absent: 0 is stored, whatever the sum within the tile gives."""
    text = """attention find
input X[a, b, i], U[j, c, n]
index a < 6
index c < 5
T[b] += X[a,b,i]
W[i,b,j] += tanh(U[j,c,n]) * tanh(X[a,b,i])
R[a,i] += relu(X[a,b,i])  where a > 0
output T[b]
output W[i,b,j]
output R[a,i]
"""
    generator = torch.Generator().manual_seed(0)
    x, u = torch.randn(6, 5, 8, generator=generator), torch.randn(1, 5, 3, generator=generator)
    kept = torch.cat([torch.zeros(1, 8), x[1:].relu().sum(1)])
    crossed = torch.einsum("jcn,abi->ibj", u.tanh(), x.tanh())
    found = attn_dsl.compile(text, target=target)(x, u)
    for mine, right in zip(found, (x.sum((0, 2)), crossed, kept), strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-4)
