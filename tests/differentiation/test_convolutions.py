"""Derivatives of convolutions: taps on rows, on keys, on both, on computed scores; summed and kept, strided,
dilated, centred. The judge is torch's autograd through the formula, written without this project, in f64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.func import jvp  # pyright: ignore[reportPrivateImportUsage]

import attn_dsl
from attn_dsl.differentiation import backward
from attn_dsl.runtime.sizes import bind
from tests.differentiation.dense import drawn_like, gradients

pytestmark = pytest.mark.usefixtures("plain_builds")

Tensors = Mapping[str, Tensor]


def at(x: Tensor, dim: int, places: Tensor) -> Tensor:
    """The slices of ``x`` at places, 0 outside: ``dim`` becomes the places' own dimensions."""
    inside = (places >= 0) & (places < x.shape[dim])
    flat = x.index_select(dim, places.clamp(0, x.shape[dim] - 1).flatten())
    found = flat.unflatten(dim, tuple(places.shape))
    mask = inside.reshape(*places.shape, *[1] * (x.dim() - dim - 1))
    return torch.where(mask, found, 0.0)


def taps(rows: int, count: int, step: int = 1, sign: int = -1, shift: int = 0) -> Tensor:
    """``step * i + sign * u + shift`` for rows and taps."""
    return step * torch.arange(rows)[:, None] + sign * torch.arange(count) + shift


@dataclass(frozen=True)
class Case:
    """``shapes`` of the inputs at length n; ``formula``: the outputs from these."""

    text: str
    shapes: Callable[[int], dict[str, tuple[int, ...]]]
    formula: Callable[[Tensors], Tensor]


def _causal(t: Tensors) -> Tensor:
    n, u = t["X"].shape[0], t["W"].shape[0]
    return torch.einsum("iud,ud->id", at(t["X"], 0, taps(n, u)), t["W"])


def _mean(t: Tensors) -> Tensor:
    n = t["X"].shape[0]
    places = taps(n, 4)
    return at(t["X"], 0, places).sum(1) / (places >= 0).sum(1)[:, None]


def _other_rows(t: Tensors) -> Tensor:
    return t["R"] @ at(t["X"].exp(), 0, torch.arange(t["R"].shape[1]) + 1)


def _kept(t: Tensors) -> Tensor:
    n, u = t["X"].shape[0], t["W"].shape[0]
    return at(t["X"], 0, taps(n, u)) * t["W"]


def _strided(t: Tensors) -> Tensor:
    m, u = t["G"].shape[0], t["W"].shape[0]
    return torch.einsum("iuc,ucd,id->id", at(t["X"], 0, taps(m, u, 2, 1)), t["W"], t["G"])


def _dilated(t: Tensors) -> Tensor:
    n, u = t["X"].shape[0], t["W"].shape[0]
    places = torch.arange(n)[:, None] - 3 * torch.arange(u)
    return torch.einsum("iud,ud->id", at(t["X"], 0, places).tanh(), t["W"])


def _centred(t: Tensors) -> Tensor:
    n, u = t["X"].shape[0], t["W"].shape[0]
    return torch.einsum("iuc,ucd->id", at(t["X"], 0, taps(n, u, 1, 1, -(u // 2))), t["W"])


def _image(t: Tensors) -> Tensor:
    (x, y), (u, v) = t["X"].shape[:2], t["W"].shape[:2]
    near = at(at(t["X"], 0, taps(x, u, 1, 1, -1)), 2, taps(y, v, 1, 1, -1))
    return torch.einsum("xuyvd,uvd->xyd", near, t["W"])


def _computed_image(t: Tensors) -> Tensor:
    return _image({"X": (t["X"] * t["G"]).exp(), "W": t["W"]})


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT).softmax(-1) @ v


def _queries(t: Tensors) -> Tensor:
    n, u = t["Q"].shape[1], t["W"].shape[0]
    q = torch.einsum("biud,ud->bid", at(t["Q"], 1, taps(n, u)), t["W"])
    return _attend(q, t["K"], t["V"])


def _exponential_queries(t: Tensors) -> Tensor:
    return _queries({**t, "Q": t["Q"].exp()})


def _keys(t: Tensors) -> Tensor:
    n, u = t["K"].shape[1], t["W"].shape[0]
    k = torch.einsum("bjud,ud->bjd", at(t["K"], 1, taps(n, u)), t["W"])
    return _attend(t["Q"], k, t["V"])


def _both(t: Tensors) -> Tensor:
    n, m, u = t["Q"].shape[1], t["K"].shape[1], t["W"].shape[0]
    q = torch.einsum("biud,ud->bid", at(t["Q"], 1, taps(n, u)), t["W"])
    k = torch.einsum("bjud,ud->bjd", at(t["K"], 1, taps(m, u, 1, 1, -1)), t["W"])
    return _attend(q, k, t["V"])


def _scores(t: Tensors) -> Tensor:
    n, m, u, v = t["Q"].shape[1], t["K"].shape[1], *t["W"].shape
    s = t["Q"] @ t["K"].mT
    near = at(at(s, 1, taps(n, u)), 3, taps(m, v))
    c = torch.einsum("biujv,uv->bij", near, t["W"])
    return c.tanh() @ t["V"]


def _exponential_scores(t: Tensors) -> Tensor:
    return _scores({**t, "Q": t["Q"].exp()})


def _windows(t: Tensors) -> Tensor:
    places = taps(t["Q"].shape[1], 5, 1, 1, -2)
    inside = (places >= 0) & (places < t["K"].shape[1])
    s = torch.einsum("bid,biwd->biw", t["Q"], at(t["K"], 1, places)).masked_fill(~inside, -torch.inf)
    return torch.einsum("biw,biwe->bie", s.softmax(-1), at(t["V"], 1, places))


def attending(*lines: str, sizes: str = "") -> str:
    """Softmax attention over scores S from these lines."""
    body = "\n".join(lines)
    return (
        f"{sizes}{body}\nP[b,i,j] = softmax[j](S[b,i,j])\nO[b,i,e] += P[b,i,j] * V[b,j,e]\noutput O[b,i,e]\n"
    )


def qkv(n: int, **others: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """With as many keys and two more."""
    return {"Q": (2, n, 3), "K": (2, n + 2, 3), "V": (2, n + 2, 2), **others}


QKVW = "input Q[b,i,d], K[b,j,d], V[b,j,e], W[u,d]\n"
CASES = {
    "causal": Case(
        "input X[i,d], W[u,d]\nY[i,d] += X[i - u, d] * W[u,d]\noutput Y[i,d]",
        lambda n: {"X": (n, 2), "W": (3, 2)},
        _causal,
    ),
    "more taps than rows": Case(
        "input X[i,d], W[u,d]\nY[i,d] += W[u,d] * X[-u + i, d]\noutput Y[i,d]",
        lambda n: {"X": (n, 2), "W": (n + 3, 2)},
        _causal,
    ),
    "moving mean": Case(
        "input X[i,d]\nindex u < 4\nY[i,d] mean= X[i - u, d]\noutput Y[i,d]",
        lambda n: {"X": (n, 2)},
        _mean,
    ),
    "other rows": Case(
        "input X[i,d], R[i,u]\nE[i,d] = exp(X[i,d])\nY[i,d] += R[i,u] * E[u + 1, d]\noutput Y[i,d]",
        lambda n: {"X": (n, 2), "R": (n, n + 1)},
        _other_rows,
    ),
    "kept": Case(
        "input X[i,d], W[u,d]\nY[i,u,d] = default(X[i - u, d], 0) * W[u,d]\noutput Y[i,u,d]",
        lambda n: {"X": (n, 2), "W": (3, 2)},
        _kept,
    ),
    "strided": Case(
        "input X[j,c], W[u,c,d], G[i,d]\nY[i,d] += X[i*2 + u, c] * W[u,c,d] * G[i,d]\noutput Y[i,d]",
        lambda n: {"X": (2 * n + 1, 2), "W": (3, 2, 2), "G": (n, 2)},
        _strided,
    ),
    "dilated": Case(
        "input X[i,d], W[u,d]\nY[i,d] += tanh(X[i - 3*u, d]) * W[u,d]\noutput Y[i,d]",
        lambda n: {"X": (n, 2), "W": (3, 2)},
        _dilated,
    ),
    "centred": Case(
        "input X[i,c], W[u,c,d]\nY[i,d] += X[i + u - size(u) // 2, c] * W[u,c,d]\noutput Y[i,d]",
        lambda n: {"X": (n, 2), "W": (5, 2, 3)},
        _centred,
    ),
    "image": Case(
        "input X[x,y,d], W[u,v,d]\nY[x,y,d] += X[x + u - 1, y + v - 1, d] * W[u,v,d]\noutput Y[x,y,d]",
        lambda n: {"X": (n, 4, 2), "W": (3, 3, 2)},
        _image,
    ),
    "computed image": Case(
        "input X[x,y,d], G[d], W[u,v,d]\nE[x,y,d] = exp(X[x,y,d] * G[d])\n"
        "Y[x,y,d] += E[x + u - 1, y + v - 1, d] * W[u,v,d]\noutput Y[x,y,d]",
        lambda n: {"X": (n, 4, 2), "G": (2,), "W": (3, 3, 2)},
        _computed_image,
    ),
    "queries": Case(
        QKVW + attending("C[b,i,d] += Q[b, i - u, d] * W[u,d]", "S[b,i,j] += C[b,i,d] * K[b,j,d]"),
        lambda n: qkv(n, W=(3, 3)),
        _queries,
    ),
    "queries, exponential": Case(
        QKVW
        + attending(
            "X[b,i,d] = exp(Q[b,i,d])",
            "C[b,i,d] += X[b, i - u, d] * W[u,d]",
            "S[b,i,j] += C[b,i,d] * K[b,j,d]",
        ),
        lambda n: qkv(n, W=(3, 3)),
        _exponential_queries,
    ),
    "keys": Case(
        QKVW + attending("C[b,j,d] += K[b, j - u, d] * W[u,d]", "S[b,i,j] += Q[b,i,d] * C[b,j,d]"),
        lambda n: qkv(n, W=(3, 3)),
        _keys,
    ),
    "both": Case(
        QKVW
        + attending(
            "C[b,i,d] += Q[b, i - u, d] * W[u,d]",
            "D[b,j,d] += K[b, j + u - 1, d] * W[u,d]",
            "S[b,i,j] += C[b,i,d] * D[b,j,d]",
        ),
        lambda n: qkv(n, W=(3, 3)),
        _both,
    ),
    "scores": Case(
        "input Q[b,i,d], K[b,j,d], V[b,j,e], W[u,v]\nS[b,i,j] += Q[b,i,d] * K[b,j,d]\n"
        "C[b,i,j] += W[u,v] * S[b, i - u, j - v]\nO[b,i,e] += tanh(C[b,i,j]) * V[b,j,e]\noutput O[b,i,e]",
        lambda n: qkv(n, W=(2, 3)),
        _scores,
    ),
    "scores of exponentials": Case(
        "input Q[b,i,d], K[b,j,d], V[b,j,e], W[u,v]\nX[b,i,d] = exp(Q[b,i,d])\nS[b,i,j] += X[b,i,d] * K[b,j,d]\n"
        "C[b,i,j] += W[u,v] * S[b, i - u, j - v]\nO[b,i,e] += tanh(C[b,i,j]) * V[b,j,e]\noutput O[b,i,e]",
        lambda n: qkv(n, W=(2, 3)),
        _exponential_scores,
    ),
    "windows": Case(
        "input Q[b,i,d], K[b,j,d], V[b,j,e]\nindex w < 5\nS[b,i,w] += Q[b,i,d] * K[b, i + w - 2, d]\n"
        "P[b,i,w] = softmax[w](S[b,i,w])\nO[b,i,e] += P[b,i,w] * V[b, i + w - 2, e]\noutput O[b,i,e]",
        qkv,
        _windows,
    ),
}  # fmt: skip
BY_KERNELS = ("causal", "moving mean", "kept", "strided", "centred", "computed image", "queries, exponential", "both",
              "scores of exponentials", "windows")  # fmt: skip


def drawn(case: Case, n: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(n)
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in case.shapes(n).items()
    }


def compiled(case: Case) -> attn_dsl.Attention:
    return attn_dsl.compile(f"attention convolution\n{case.text.strip()}\n")


def agree(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for mine, right in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, right, atol=1e-9, rtol=1e-9)


def first_and_second(call: Callable[[Tensors], Tensor], arguments: Tensors) -> tuple[Tensor, ...]:
    """The value, the gradients, and the gradients of these along fixed directions, by arguments and
    adjoint."""
    leaves = {n: t.clone().requires_grad_() for n, t in arguments.items()}
    value = call(leaves)
    adjoint = drawn_like({"": value}, 5)[""].requires_grad_()
    first = torch.autograd.grad(value, list(leaves.values()), adjoint, create_graph=True)
    along = drawn_like(leaves, 6).values()
    total = torch.stack([(g * a).sum() for g, a in zip(first, along, strict=True)]).sum()
    wanted = [*leaves.values(), adjoint]
    second = torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)
    return value, *first, *second


def tangent(call: Callable[[Tensors], Tensor], arguments: Tensors, along: Tensors) -> tuple[Tensor, ...]:
    """The value and the tangent."""

    def of(*given: Tensor) -> Tensor:
        return call(dict(zip(arguments, given, strict=True)))

    return jvp(of, tuple(arguments.values()), tuple(along.values()))


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("name", CASES)
def test_the_backward_cascade(name: str, n: int) -> None:
    """Evaluated densely: the rule by itself, without kernels."""
    case = CASES[name]
    attention, arguments = compiled(case), drawn(case, n)
    leaves = {name: t.clone().requires_grad_() for name, t in arguments.items()}
    value = case.formula(leaves)
    adjoint = drawn_like({"": value}, 5)[""]
    expected = torch.autograd.grad(value, list(leaves.values()), adjoint)
    sizes = bind(attention.cascade, attention.params, (), arguments).sizes
    passes = backward(attention.cascade)
    given = {seed: adjoint for seed in passes.seeds.values()}
    found = gradients(passes, attention.params, arguments, sizes, given)
    agree(tuple(found[name] for name in arguments), expected)


@pytest.mark.parametrize("name", BY_KERNELS)
def test_kernels(name: str) -> None:
    """Value, gradient, tangent and second derivatives, at lengths that no tile divides."""
    case = CASES[name]
    attention = compiled(case)
    for n in (1, 7, 37):
        arguments = drawn(case, n)
        agree(
            first_and_second(lambda t: attention(**t), arguments), first_and_second(case.formula, arguments)
        )
        along = drawn_like(arguments, 9)
        agree(tangent(lambda t: attention(**t), arguments, along), tangent(case.formula, arguments, along))
