"""Every function of the prelude and every form of statement, each as a small file beside what it says in
plain torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Form:
    """``statements`` give O from the inputs; ``inputs``: their declarations, ``shapes`` of the floating ones
    in order; ``formula`` gives O from them. ``sizes``: of all indices. ``integers``: the other inputs."""

    inputs: str
    statements: str
    output: str
    shapes: tuple[tuple[int, ...], ...]
    formula: Callable[..., Tensor]
    sizes: Mapping[str, int]
    integers: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    @property
    def text(self) -> str:
        """The whole file."""
        return f"attention form\ninput {self.inputs}\n{self.statements}\noutput {self.output}\n"

    def arguments(self) -> list[Tensor]:
        """Seeded, in float64."""
        torch.manual_seed(5)
        return [torch.randn(shape, dtype=torch.float64) for shape in self.shapes]


I, J, D, E = 7, 11, 4, 3
IJ, QKV = {"i": I, "j": J}, {"i": I, "j": J, "d": D, "e": E}
CAUSAL = torch.ones(I, J, dtype=torch.bool).tril()
NEVER = CAUSAL.clone()
NEVER[2] = False
LEFT = torch.arange(I)[:, None] - torch.arange(J)[None, :]


def rows(statements: str, formula: Callable[..., Tensor], output: str = "O[i]") -> Form:
    """Of X[i, j] with j <= i, but no key for row 2."""
    whole = f"mask seen = j <= i and i != 2\n{statements}"
    return Form("X[i, j]", whole, output, ((I, J),), formula, IJ)


def masked(x: Tensor, fill: float) -> Tensor:
    return x.masked_fill(~NEVER, fill)


def safe(x: Tensor) -> Tensor:
    """0 in place of what a row without keys gives."""
    return torch.where(NEVER.any(1).reshape(-1, *[1] * (x.dim() - 1)), x, 0.0)


def softmax(x: Tensor) -> Tensor:
    return safe(torch.softmax(torch.where(NEVER.any(1)[:, None], masked(x, -torch.inf), 0.0), 1)) * NEVER


def lse(x: Tensor) -> Tensor:
    """-inf for a row without keys, where no gradient is."""
    full = torch.where(NEVER.any(1)[:, None], masked(x, -torch.inf), 0.0)
    return torch.where(NEVER.any(1), torch.logsumexp(full, 1), -torch.inf)


def finite_lse(x: Tensor) -> Tensor:
    return torch.where(NEVER.any(1), torch.nan_to_num(lse(x), neginf=0.0), 0.0)


def softmax_one(x: Tensor) -> Tensor:
    extended = torch.cat([masked(x, -torch.inf), torch.zeros(I, 1, dtype=x.dtype)], 1)
    return torch.softmax(extended, 1)[:, :-1] * NEVER


def with_sink(x: Tensor, sink: Tensor) -> Tensor:
    extended = torch.cat([masked(x, -torch.inf), sink[:, None]], 1)
    return torch.softmax(extended, 1)[:, :-1] * NEVER


def shifted(x: Tensor, by: int) -> Tensor:
    """x[i - by], 0 out of bounds."""
    moved = torch.zeros_like(x)
    if by >= 0:
        return torch.cat([moved[:by], x[: len(x) - by]]) if by < len(x) else moved
    return torch.cat([x[-by:], moved[:-by]]) if -by < len(x) else moved


def convolved(x: Tensor, w: Tensor, first: int = 0) -> Tensor:
    return torch.stack([shifted(x, u + first) * w[u] for u in range(len(w))]).sum(0)


def image(x: Tensor, w: Tensor) -> Tensor:
    """Two-dimensional taps x[i - u, j - v] w[u, v]."""
    up, across = w.shape
    padded = F.pad(x, (across - 1, 0, up - 1, 0))
    return F.conv2d(padded[None, None], w.flip(0, 1)[None, None])[0, 0]


def attend(s: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(s.masked_fill(~CAUSAL, -torch.inf), 1) @ v


def moving_mean(x: Tensor, taps: int) -> Tensor:
    """Of x[i], x[i - 1], ... as far as they are there."""
    return torch.stack([x[max(0, i - taps + 1) : i + 1].mean(0) for i in range(len(x))])


LIST = torch.tensor(
    [[0, 5, 5], [10, 2, -1], [3, 3, 3], [0, 1, 2], [9, 8, 11], [6, 6, 1], [4, 0, 10]], dtype=torch.int32
)
CLASS = torch.tensor([0, 2, 2, 1, 0, 3, 1, 1, 0, 2, 3], dtype=torch.int32)


def gathered(v: Tensor) -> Tensor:
    inside = (LIST >= 0) & (LIST < J)
    return (v[LIST.clamp(0, J - 1).long()] * inside[..., None]).sum(1)


ATTENTION = "S[i,j] += Q[i,d] * K[j,d]; X[i,j] = S[i,j] where j <= i; P[i,j] = softmax[j](X[i,j]); O[i,e] += P[i,j] * V[j,e]"
ATTENDED = ((I, D), (J, D), (J, E))

FORMS: dict[str, Form] = {
    # the prelude
    "softmax": rows("Y[i,j] = X[i,j] where seen; O[i,j] = softmax[j](Y[i,j])", softmax, "O[i, j]"),
    "softmin": rows("Y[i,j] = X[i,j] where seen; O[i,j] = softmin[j](Y[i,j])", lambda x: softmax(-x), "O[i, j]"),
    "softmax1": rows("Y[i,j] = X[i,j] where seen; O[i,j] = softmax1[j](Y[i,j])", softmax_one, "O[i, j]"),
    "softmax_sink": Form(
        "X[i, j], sink[i]", "Y[i,j] = X[i,j] where j <= i and i != 2; O[i,j] = softmax_sink[j](Y[i,j], sink[i])",
        "O[i, j]", ((I, J), (I,)), with_sink, IJ,
    ),
    "logsumexp": rows("Y[i,j] = X[i,j] where seen; O[i] = logsumexp[j](Y[i,j]) where i != 2", finite_lse),
    "z-loss": rows("Y[i,j] = X[i,j] where seen; L[i] = logsumexp[j](Y[i,j]) where i != 2; O[i] = L[i] * L[i]", lambda x: finite_lse(x) ** 2),
    "l1_normalise": rows(
        "Y[i,j] = X[i,j] where seen; O[i,j] = l1_normalise[j](Y[i,j])",
        lambda x: safe(masked(x, 0.0) / torch.where(NEVER.any(1)[:, None], masked(x, 0.0).abs().sum(1, True), 1.0)),
        "O[i, j]",
    ),
    "softcap": rows("O[i,j] = softcap(X[i,j], 1.5)", lambda x: 1.5 * torch.tanh(x / 1.5), "O[i, j]"),
    "alibi": Form(
        "X[i, j], slope[i]", "O[i,j] = X[i,j] + alibi(slope[i], i, j)", "O[i, j]", ((I, J), (I,)),
        lambda x, m: x - m[:, None] * LEFT.abs(), IJ,
    ),
    "entropy": rows(
        "Y[i,j] = X[i,j] where seen; L[i] = logsumexp[j](Y[i,j]); P[i,j] = softmax[j](Y[i,j]); M[i] += P[i,j] * Y[i,j]; O[i] = L[i] - M[i]",
        lambda x: safe(finite_lse(x) - (softmax(x) * masked(x, 0.0)).sum(1)),
    ),
    # reductions
    "sum": rows("O[i] += X[i,j] ** 3 where seen", lambda x: masked(x**3, 0.0).sum(1)),
    "mean": rows(
        "O[i] mean= X[i,j] ** 3 where seen", lambda x: masked(x**3, 0.0).sum(1) / NEVER.sum(1).clamp(min=1)
    ),
    "maximum": rows("O[i] max= X[i,j] where seen", lambda x: safe(masked(x, -1e9).amax(1))),
    "minimum": rows("O[i] min= X[i,j] ** 2 where seen", lambda x: safe(masked(x**2, 1e9).amin(1))),
    "product": rows("O[i] *= X[i,j] where seen", lambda x: safe(masked(x, 1.0).prod(1))),
    "count": Form(
        "X[i, j]", "N[i,j] = X[i,j] > 0; C[i] += N[i,j]; A[i] any= X[i,j] > 1; O[i,j] = X[i,j] * C[i] + A[i]", "O[i, j]", ((I, J),),
        lambda x: x * (x > 0).sum(1, True) + (x > 1).any(1)[:, None], IJ,
    ),
    "several contributions": Form(
        "X[i, j], y[i]", "O[i] += X[i,j] ** 2 where j <= i; O[i] += y[i] ** 3 where i != 1", "O[i]", ((I, J), (I,)),
        lambda x, y: (x**2 * CAUSAL).sum(1) + torch.where(torch.arange(I) == 1, 0.0, y**3), IJ,
    ),
    "running sum": Form(
        "x[i]", "index t < size(i)\nO[i] += x[t] ** 2 where t <= i", "O[i]", ((I,),), lambda x: (x**2).cumsum(0), {"i": I, "t": I},
    ),
    # places
    "convolution of rows": Form(
        "X[i, d], W[u, d]", "O[i,d] += X[i - u,d] * W[u,d]", "O[i, d]", ((I, D), (3, D)), convolved, {"i": I, "d": D, "u": 3}
    ),
    "centred convolution": Form(
        "X[i, d], W[u, d]", "O[i,d] += X[i + 1 - u,d] * W[u,d]", "O[i, d]", ((I, D), (3, D)),
        lambda x, w: convolved(x, w, -1), {"i": I, "d": D, "u": 3},
    ),
    "kept taps": Form(
        "X[i, d], W[u, d]", "O[i,u,d] = X[i - u,d] * W[u,d]", "O[i, u, d]", ((I, D), (3, D)),
        lambda x, w: torch.stack([shifted(x, u) * w[u] for u in range(3)], 1), {"i": I, "d": D, "u": 3},
    ),
    "moving mean": Form(
        "X[i, d]", "index u < 4\nO[i,d] mean= X[i - u,d]", "O[i, d]", ((I, D),), lambda x: moving_mean(x, 4), {"i": I, "d": D, "u": 4}
    ),
    "strided": Form(
        "X[j, d], W[u, d]", "index i < 5\nO[i,d] += X[2*i + u,d] * W[u,d]", "O[i, d]", ((J, D), (3, D)),
        lambda x, w: torch.stack([(F.pad(x, (0, 0, 0, 3))[2 * i : 2 * i + 3] * w).sum(0) for i in range(5)]),
        {"i": 5, "j": J, "d": D, "u": 3},
    ),
    "convolved queries": Form(
        "Q[i, d], K[j, d], V[j, e], W[u, d]", "C[i,d] += Q[i - u,d] * W[u,d]\n" + ATTENTION.replace("Q[i,d]", "C[i,d]"), "O[i, e]",
        (*ATTENDED, (3, D)), lambda q, k, v, w: attend(convolved(q, w) @ k.T, v), {**QKV, "u": 3},
    ),
    "convolved queries and keys": Form(
        "Q[i, d], K[j, d], V[j, e], W[u, d]",
        "C[i,d] += Q[i - u,d] * W[u,d]; B[j,d] += exp(K[j - u,d]) * W[u,d]\n" + ATTENTION.replace("Q[i,d]", "C[i,d]").replace("K[j,d]", "B[j,d]"), "O[i, e]",
        (*ATTENDED, (3, D)),
        lambda q, k, v, w: attend(convolved(q, w) @ torch.stack([shifted(k.exp(), u) * (torch.arange(J) >= u)[:, None] * w[u] for u in range(3)]).sum(0).T, v),
        {**QKV, "u": 3},
    ),
    "image": Form(
        "X[i, j], W[u, v]", "O[i,j] += W[u,v] * X[i - u,j - v]", "O[i, j]", ((I, J), (2, 3)), image, {**IJ, "u": 2, "v": 3}
    ),
    "convolved scores": Form(
        "Q[i, d], K[j, d], W[u, v]", "S[i,j] += Q[i,d] * K[j,d]; O[i,j] += W[u,v] * S[i - u,j - v]", "O[i, j]",
        ((I, D), (J, D), (2, 3)), lambda q, k, w: image(q @ k.T, w), {**IJ, "d": D, "u": 2, "v": 3},
    ),
    "diagonal sums": Form(
        "X[i, j]", f"index o < {I + J - 1}\nO[i - j + {J - 1}] += X[i,j] ** 2", "O[o]", ((I, J),),
        lambda x: torch.stack([(x**2).diagonal(J - 1 - o).sum() for o in range(I + J - 1)]), {**IJ, "o": I + J - 1},
    ),
    "sums by class": Form(
        "X[j, d], c[j]: i32", "index m < 4\nO[c[j],d] += X[j,d] ** 2", "O[m, d]", ((J, D),),
        lambda x: torch.zeros(4, D, dtype=x.dtype).index_add(0, CLASS.long(), x**2), {"j": J, "d": D, "m": 4}, {"c": CLASS},
    ),
    "gather": Form(
        "V[j, e], list[i, n]: i32", "O[i,e] += V[list[i,n],e]", "O[i, e]", ((J, E),), gathered, {"i": I, "j": J, "e": E, "n": 3}, {"list": LIST}
    ),
    "table by distance": Form(
        "X[i, j], T[_]", "O[i,j] = X[i,j] * T[abs(i - j)]", "O[i, j]", ((I, J), (J,)), lambda x, t: x * t[LEFT.abs()], {**IJ, "_T_0": J}
    ),
    # presence, choice
    "default": Form(
        "x[i]", "O[i] = default(x[i + 1] * x[i], x[i] ** 3)", "O[i]", ((I,),),
        lambda x: torch.cat([x[1:] * x[:-1], x[-1:] ** 3]), {"i": I},
    ),
    "choice": Form(
        "x[i], y[i]", "O[i] = x[i] ** 2 if x[i] > y[i] else x[i] * y[i]", "O[i]", ((I,), (I,)),
        lambda x, y: torch.where(x > y, x**2, x * y), {"i": I},
    ),
    "detach": Form(
        "x[i], y[i]", "O[i] = detach(x[i]) * x[i] * y[i]", "O[i]", ((I,), (I,)), lambda x, y: x.detach() * x * y, {"i": I}
    ),
    "heads in groups": Form(
        "Q[(g r), d], K[g, d]", "index r < 2\nO[g,r] += Q[g,r,d] * K[g,d]", "O[(g r)]", ((6, D), (3, D)),
        lambda q, k: (q.view(3, 2, D) * k[:, None]).sum(2).reshape(6), {"g": 3, "r": 2, "d": D},
    ),
    "extent from data": Form(
        "X[i, j], n[i]: i32", "index k < n[i]\nO[i] += X[i,k] ** 2", "O[i]", ((I, J),),
        lambda x: torch.stack([(x[i, : int(LIST[i, 0])] ** 2).sum() for i in range(I)]), {**IJ, "k": J}, {"n": LIST[:, 0].clamp(0, J)},
    ),
    "attention": Form("Q[i, d], K[j, d], V[j, e]", ATTENTION, "O[i, e]", ATTENDED, lambda q, k, v: attend(q @ k.T, v), QKV),
    "two branches merged by their lse": Form(
        "X[i, j], Y[i, j], V[j, e]",
        "A[i] = logsumexp[j](X[i,j]); B[i] = logsumexp[j](Y[i,j]); P[i,j] = softmax[j](X[i,j]); R[i,j] = softmax[j](Y[i,j]); "
        "M[i,e] += P[i,j] * V[j,e]; N[i,e] += R[i,j] * V[j,e]; w[i] = sigmoid(A[i] - B[i]); O[i,e] = w[i] * M[i,e] + (1 - w[i]) * N[i,e]",
        "O[i, e]", ((I, J), (I, J), (J, E)),
        lambda x, y, v: torch.softmax(torch.cat([x, y], 1), 1) @ torch.cat([v, v]), {**IJ, "e": E},
    ),
}  # fmt: skip
