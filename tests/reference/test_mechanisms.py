"""The reference against the same mechanism written by hand in torch."""

import torch
from torch.testing import assert_close

from tests.reference.meaning import attend, meaning, normal

INPUTS = "input Q[b, h, i, d], K[b, h, j, d], V[b, h, j, e]\n"
SCORES = "S[b,h,i,j] += Q[b,h,i,d] * K[b,h,j,d]\n"
WEIGHTS = "P[b,h,i,j] = softmax[j](X[b,h,i,j])\nO[b,h,i,e] += P[b,h,i,j] * V[b,h,j,e]\noutput O[b,h,i,e]\n"

B, H, N, D = 2, 3, 7, 4
Q, K, V = normal(B, H, N, D), normal(B, H, N, D, seed=1), normal(B, H, N, 5, seed=2)
QKV = {"Q": Q, "K": K, "V": V}
S = Q @ K.mT
I, J = torch.arange(N)[:, None], torch.arange(N)[None, :]
CAUSAL = J <= I


def test_causal_softmax() -> None:
    text = INPUTS + SCORES + "X[b,h,i,j] = S[b,h,i,j] / sqrt(size(d)) where j <= i\n" + WEIGHTS
    assert_close(meaning(text, QKV)["O"], attend(S / 2, CAUSAL, V))


def test_grouped_heads() -> None:
    text = """
        input Q[b, (g r), i, d], K[b, g, j, d], V[b, g, j, e]
        S[b,g,r,i,j]  += Q[b,g,r,i,d] * K[b,g,j,d]
        P[b,g,r,i,j]   = softmax[j](S[b,g,r,i,j])
        O[b,g,r,i,e]  += P[b,g,r,i,j] * V[b,g,j,e]
        output O[b, (g r), i, e]"""
    q = normal(B, 6, 5, D)
    k, v = (t.repeat_interleave(2, 1) for t in (K, V))
    expected = attend(q @ k.mT, torch.tensor(True), v)
    assert_close(meaning(text, {"Q": q, "K": K, "V": V}, r=2)["O"], expected)


def test_sliding_window_with_soft_cap() -> None:
    body = "X[b,h,i,j] = softcap(S[b,h,i,j], cap) where causal(i, j) and i - j < window\n"
    text = "param window: int = 3\nparam cap: float = 2.0\n" + INPUTS + SCORES + body + WEIGHTS
    expected = attend(2 * torch.tanh(S / 2), CAUSAL & (I - J < 3), V)
    assert_close(meaning(text, QKV)["O"], expected)


def test_linear_bias() -> None:
    text = (
        "input slope[h]\n" + INPUTS + SCORES + "X[b,h,i,j] = S[b,h,i,j] + alibi(slope[h], i, j)\n" + WEIGHTS
    )
    slope = torch.tensor([0.5, 0.25, 0.125], dtype=torch.float64)
    expected = attend(S - slope[:, None, None] * (I - J).abs(), torch.tensor(True), V)
    assert_close(meaning(text, {"slope": slope, **QKV})["O"], expected)


def test_table_of_relative_biases() -> None:
    text = (
        "input T[h, n]\n"
        + INPUTS
        + SCORES
        + "X[b,h,i,j] = S[b,h,i,j] + T[h, i - j + size(i) - 1]\n"
        + WEIGHTS
    )
    table = normal(H, 2 * N - 1, seed=5)
    expected = attend(S + table[:, I - J + N - 1], torch.tensor(True), V)
    assert_close(meaning(text, {"T": table, **QKV})["O"], expected)


def test_sink_logit() -> None:
    text = "input sink[h]\n" + INPUTS + SCORES + "X[b,h,i,j] = S[b,h,i,j] where j < i\n"
    text += WEIGHTS.replace("softmax[j](X[b,h,i,j])", "softmax_sink[j](X[b,h,i,j], sink[h])")
    sink = normal(H, seed=6)
    column = sink[None, :, None, None].expand(B, H, N, 1)
    weights = torch.softmax(torch.cat([S.masked_fill(J >= I, -torch.inf), column], -1), -1)[..., :-1]
    assert_close(meaning(text, {"sink": sink, **QKV})["O"], weights @ V)


def test_differential() -> None:
    text = """
        input Q[b, h, s, i, d], K[b, h, s, j, d], V[b, h, j, e], lam[h]
        S[b,h,s,i,j] += Q[b,h,s,i,d] * K[b,h,s,j,d]
        P[b,h,i,j]    = softmax[j](S[b,h,0,i,j])
        R[b,h,i,j]    = softmax[j](S[b,h,1,i,j])
        O[b,h,i,e]   += (P[b,h,i,j] - lam[h] * R[b,h,i,j]) * V[b,h,j,e]
        output O[b, h, i, e]"""
    q, k, lam = normal(B, H, 2, N, D), normal(B, H, 2, N, D, seed=1), normal(H, seed=2)
    p = torch.softmax(q @ k.mT, -1)
    expected = (p[:, :, 0] - lam[:, None, None] * p[:, :, 1]) @ V
    assert_close(meaning(text, {"Q": q, "K": k, "V": V, "lam": lam})["O"], expected)


def test_sigmoid() -> None:
    text = (
        INPUTS + SCORES + "O[b,h,i,e] += sigmoid(S[b,h,i,j] - log(size(j))) * V[b,h,j,e]\noutput O[b,h,i,e]"
    )
    expected = torch.sigmoid(S - torch.tensor(float(N)).double().log()) @ V
    assert_close(meaning(text, QKV)["O"], expected)


def test_retention_is_its_recurrence() -> None:
    text = "input gamma[h]\n" + INPUTS + SCORES
    text += "O[b,h,i,e] += S[b,h,i,j] * gamma[h] ** (i - j) * V[b,h,j,e] where j <= i\noutput O[b,h,i,e]"
    gamma = torch.tensor([0.9, 0.5, 1.0], dtype=torch.float64)
    state, rows = torch.zeros(B, H, D, 5, dtype=torch.float64), []
    for t in range(N):
        state = gamma[:, None, None] * state + K[:, :, t, :, None] * V[:, :, t, None, :]
        rows.append((Q[:, :, t, None, :] @ state)[:, :, 0])
    assert_close(meaning(text, {"gamma": gamma, **QKV})["O"], torch.stack(rows, 2))


def test_running_sum() -> None:
    text = "input f[b, t]\nindex i < size(t)\nG[b,i] += f[b,t] where t <= i\noutput G[b, i]"
    f = normal(2, 9)
    assert_close(meaning(text, {"f": f}, i=9)["G"], f.cumsum(-1))


def test_paged_keys() -> None:
    text = """
        input Q[b, i, d], K[n, s, d], V[n, s, e], page[b, p]: i32, length[b]: i32
        index j < size(p) * size(s)
        S[b,i,j] += Q[b,i,d] * K[page[b, j // size(s)], j % size(s), d]
        X[b,i,j]  = S[b,i,j]  where j < length[b]
        P[b,i,j]  = softmax[j](X[b,i,j])
        O[b,i,e] += P[b,i,j] * V[page[b, j // size(s)], j % size(s), e]
        output O[b, i, e]"""
    q, k, v = normal(2, 3, D), normal(5, 4, D, seed=1), normal(5, 4, 6, seed=2)
    page = torch.tensor([[4, 0, 2], [1, 1, 3]], dtype=torch.int32)
    length = torch.tensor([12, 5], dtype=torch.int32)
    keys, values = (t[page.long()].flatten(1, 2) for t in (k, v))
    keep = torch.arange(12) < length[:, None, None]
    got = meaning(text, {"Q": q, "K": k, "V": v, "page": page, "length": length}, j=12)
    assert_close(got["O"], attend(q @ keys.mT, keep, values))


def test_ragged_lengths_drop_what_is_behind_them() -> None:
    text = """
        input Q[b, i, d], K[b, j, d], V[b, j, e], length[b]: i32
        index j < length[b]
        S[b,i,j] += Q[b,i,d] * K[b,j,d]
        P[b,i,j]  = softmax[j](S[b,i,j])
        O[b,i,e] += P[b,i,j] * V[b,j,e]
        M[b,e] mean= V[b,j,e]
        output O[b, i, e], M[b, e]"""
    q, k, v = normal(2, 3, D), normal(2, 6, D, seed=1), normal(2, 6, D, seed=2)
    length = torch.tensor([4, 0], dtype=torch.int32)
    poisoned = [t.masked_fill((torch.arange(6) >= length[:, None])[..., None], torch.nan) for t in (k, v)]
    got = meaning(text, {"Q": q, "K": poisoned[0], "V": poisoned[1], "length": length})
    expected = attend(q @ k.mT, torch.arange(6) < length[:, None, None], v)
    assert_close(got["O"], expected)
    assert_close(got["M"], torch.stack([v[0, :4].mean(0), torch.zeros(D, dtype=torch.float64)]))


def test_neighbourhood_over_flattened_tokens() -> None:
    text = """
        param w: int = 3
        input Q[b, (x y), d], K[b, (u v), d], V[b, (u v), e]
        index y < 5; index v < 5
        mask near = neighbourhood(x, u, w) and neighbourhood(y, v, w)
        S[b,x,y,u,v] += Q[b,x,y,d] * K[b,u,v,d]
        X[b,x,y,u,v]  = S[b,x,y,u,v]  where near
        P[b,x,y,u,v]  = softmax[u,v](X[b,x,y,u,v])
        O[b,x,y,e]   += P[b,x,y,u,v] * V[b,u,v,e]
        output O[b, (x y), e]"""
    rows, columns = 4, 5
    q, k, v = normal(2, 20, D), normal(2, 20, D, seed=1), normal(2, 20, D, seed=2)
    keep = torch.zeros(20, 20, dtype=torch.bool)
    for x in range(rows):
        for y in range(columns):
            top, left = min(max(x - 1, 0), rows - 3), min(max(y - 1, 0), columns - 3)
            for u in range(top, top + 3):
                for c in range(left, left + 3):
                    keep[x * columns + y, u * columns + c] = True
    got = meaning(text, {"Q": q, "K": k, "V": v}, x=rows, y=columns, u=rows, v=columns)
    assert_close(got["O"], attend(q @ k.mT, keep, v))


def test_blocks_chosen_by_pooled_keys() -> None:
    text = """
        param block: int = 3
        input Q[b, i, d], K[b, j, d], V[b, j, e]
        index t < block
        index c < (size(j) + block - 1) // block
        M[b,c,d] mean= K[b,c * block + t,d]
        R[b,i,c]    += Q[b,i,d] * M[b,c,d]
        L[b,i,c]     = topk[c](R[b,i,c], 2)
        S[b,i,j]    += Q[b,i,d] * K[b,j,d]
        X[b,i,j]     = S[b,i,j]  where L[b,i,j // block]
        P[b,i,j]     = softmax[j](X[b,i,j])
        O[b,i,e]    += P[b,i,j] * V[b,j,e]
        output O[b, i, e]"""
    q, k, v = normal(2, 5, D), normal(2, 10, D, seed=1), normal(2, 10, D, seed=2)
    means = torch.stack([k[:, s : s + 3].mean(1) for s in range(0, 10, 3)], 1)
    chosen = (q @ means.mT).topk(2, -1).indices
    keep = torch.zeros(2, 5, 4, dtype=torch.bool).scatter(-1, chosen, True).repeat_interleave(3, -1)[..., :10]
    assert_close(meaning(text, {"Q": q, "K": k, "V": v}, t=3, c=4)["O"], attend(q @ k.mT, keep, v))


def test_convolution_along_the_keys() -> None:
    text = "input K[b, j, d], W[d, u]\nC[b,j,d] += W[d,u] * K[b,j - u,d]\noutput C[b, j, d]"
    k, w = normal(2, 8, D), normal(D, 3, seed=1)
    padded = torch.nn.functional.pad(k.mT, (2, 0))
    expected = torch.nn.functional.conv1d(padded, w.flip(-1)[:, None], groups=D).mT
    assert_close(meaning(text, {"K": k, "W": w})["C"], expected)


def test_sums_of_columns_and_diagonals() -> None:
    text = """
        input P[b, i, j]
        index o < size(i) + size(j) - 1
        A[b,j]                    += P[b,i,j]
        D[b, i - j + size(j) - 1] += P[b,i,j]
        output A[b, j], D[b, o]"""
    p = normal(2, 3, 5)
    got = meaning(text, {"P": p}, o=7)
    assert_close(got["A"], p.sum(1))
    diagonals = [torch.diagonal(p, offset=-(o - 4), dim1=1, dim2=2).sum(-1) for o in range(7)]
    assert_close(got["D"], torch.stack(diagonals, -1))


def test_logsumexp_and_entropy_beside_the_result() -> None:
    text = INPUTS + SCORES + "X[b,h,i,j] = S[b,h,i,j] where j < i\n" + WEIGHTS
    text = text.replace("output O[b,h,i,e]", "L[b,h,i] = logsumexp[j](X[b,h,i,j])\n")
    text += "E[b,h,i] += -P[b,h,i,j] * (X[b,h,i,j] - L[b,h,i])\noutput O[b,h,i,e], L[b,h,i]: f32, E[b,h,i]"
    got = meaning(text, QKV)
    masked = S.masked_fill(J >= I, -torch.inf)
    weights = torch.softmax(masked, -1).nan_to_num(0.0)
    assert_close(got["L"], masked.logsumexp(-1))
    assert_close(got["E"], torch.special.entr(weights).sum(-1))
    assert_close(got["O"], attend(S, J < I, V))


def test_documents_and_gathered_keys() -> None:
    text = """
        input Q[b, i, d], K[b, j, d], V[b, j, e], doc[b, i]: i32, list[b, n]: i32
        S[b,i,n] += Q[b,i,d] * K[b,list[b,n],d]
        X[b,i,n]  = S[b,i,n]  where same_document(doc[b,i], doc[b,list[b,n]])
        P[b,i,n]  = softmax[n](X[b,i,n])
        O[b,i,e] += P[b,i,n] * V[b,list[b,n],e]
        output O[b, i, e]"""
    q, k, v = normal(1, 6, D), normal(1, 6, D, seed=1), normal(1, 6, D, seed=2)
    doc = torch.tensor([[0, 0, 1, 1, 1, 2]], dtype=torch.int32)
    chosen = torch.tensor([[4, 1, -1, 3]], dtype=torch.int32)
    keep = (doc[0][:, None] == doc[0][chosen[0].long()]) & (chosen[0] >= 0)
    expected = attend(q @ k[:, chosen[0].long()].mT, keep, v[:, chosen[0].long()])
    assert_close(meaning(text, {"Q": q, "K": k, "V": v, "doc": doc, "list": chosen})["O"], expected)
