"""Every process generates the same bytes: they name an entry of the cache, and sets have another order in
each."""

from __future__ import annotations

from pathlib import Path

from benchmarks.determinism import differing, random_texts, under_seeds

ROOT = Path(__file__).parents[2]
EXAMPLES = (
    "basic/convolved_keys", "cache/column_sums", "cache/page_table", "heads/differential", "heads/output_projection",
    "masks/documents", "masks/sink_window", "multidim/neighbourhood_1d", "normalisers/grouped_softmax",
    "positions/rotary",
)  # fmt: skip
POOLED = """attention pooled
input Q[b, i, d], X[b, r, c, d]
index m < size(r) // 2
index n < size(c) // 2
index u < 2
index v < 2
C[b,m,n,d] mean= X[b, 2*m + u, 2*n + v, d]
S[b,i,m,n]   += Q[b,i,d] * C[b,m,n,d]
P[b,i,m,n]    = softmax[m,n](S[b,i,m,n])
O[b,i,d]     += P[b,i,m,n] * C[b,m,n,d]
output O[b, i, d]
"""
TWO_LEVELS = """attention two_levels
input Q[b, i, d], X[b, r, c, d], G[b, i, r]
index m < size(r) // 2
index n < size(c) // 2
index p < size(r) // 4
index q < size(c) // 4
S[b,i,m,n] += Q[b,i,d] * X[b, 2*m, 2*n, d]
T[b,i,p,q] += Q[b,i,d] * X[b, 4*p, 4*q, d]
P[b,i,m,n]  = exp(S[b,i,m,n])  where G[b, i, 2*m] > 0
R[b,i,p,q]  = exp(T[b,i,p,q])
O[b,i,d]   += P[b,i,m,n] * X[b, 2*m, 2*n, d]
O[b,i,d]   += R[b,i,p,q] * X[b, 4*p, 4*q, d]
output O[b, i, d]
"""


def test_two_processes_generate_the_same() -> None:
    """Streams that no input names have an order too."""
    texts = {name: (ROOT / "examples" / f"{name}.attn").read_text() for name in EXAMPLES}
    texts |= {f"random {n}": text for n, text in enumerate(random_texts(3))}
    found = under_seeds({"pooled": POOLED, "two levels": TWO_LEVELS, **texts}, (1, 6))
    assert len(found[0]) == 4 * (len(texts) + 2)
    assert not differing(found)
