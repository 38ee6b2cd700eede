"""Invent a mechanism in the text of a program: a window that widens from head to head, and a sink in every
head."""

import torch

import attn_dsl

TEXT = """
attention widening_window

param narrowest: int = 16

input Q[b, h, i, d], K[b, h, j, d], V[b, h, j, e], sink[h]

mask local = 0 <= i - j < narrowest << h

S[b,h,i,j] += Q[b,h,i,d] * K[b,h,j,d]
X[b,h,i,j]  = S[b,h,i,j] / sqrt(size(d))  where local
P[b,h,i,j]  = softmax_sink[j](X[b,h,i,j], sink[h])
O[b,h,i,e] += P[b,h,i,j] * V[b,h,j,e]

output O[b, h, i, e]
"""


def main() -> None:
    """Call the mechanism at two lengths; the second compiles nothing."""
    attention = attn_dsl.compile(TEXT, narrowest=8)
    for n in (40, 100):
        q, k, v = torch.randn(3, 2, 4, n, 32)
        sink = torch.zeros(4)
        difference = attention(q, k, v, sink) - attention.reference(q, k, v, sink)
        print(f"length {n}: largest difference {difference.abs().max().item():.2g}")


if __name__ == "__main__":
    main()
