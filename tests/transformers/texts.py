"""Files for models, from the parts in which they differ."""

from __future__ import annotations


def text(
    inputs: str = "", where: str = "", score: str = "S[b,g,r,i,j] / sqrt(size(d))", weight: str = "softmax[j](X[b,g,r,i,j])",
    params: str = "",
) -> str:  # fmt: skip
    """Grouped attention with further inputs, a predicate, another score or another normaliser."""
    inputs = f", {inputs}" if inputs else ""
    where = f"  where {where}" if where else ""
    params = "".join(f"param {p}\n" for p in params.split("; ") if p)
    return f"""attention of_a_model
{params}input Q[b, (g r), i, d], K[b, g, j, d], V[b, g, j, e]{inputs}
S[b,g,r,i,j] += Q[b,g,r,i,d] * K[b,g,j,d]
X[b,g,r,i,j]  = {score}{where}
P[b,g,r,i,j]  = {weight}
O[b,g,r,i,e] += P[b,g,r,i,j] * V[b,g,j,e]
output O[b, (g r), i, e]
"""


CAUSAL_PADDED = text("keep[b, j]: bool", "causal_at_end(i, j) and keep[b, j]")
WINDOW = text(where="0 <= i - size(i) - (j - size(j)) < sliding_window", params="sliding_window: int")
MASKED = text("mask[b, _, i, j]: bool", "mask[b,0,i,j]")
