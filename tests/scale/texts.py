"""Texts of any size: one shape of growth each."""

from __future__ import annotations

from collections.abc import Callable

HEAD = "attention grown\n"


def doubling(count: int) -> str:
    """Each statement reads the one before it twice."""
    lines = ["input T0[i,j], V[j,e]"]
    lines += [f"T{k}[i,j] = T{k - 1}[i,j] + exp(T{k - 1}[i,j])" for k in range(1, count + 1)]
    return _text([*lines, f"O[i,e] += T{count}[i,j] * V[j,e]", "output O[i,e]"])


def chain(count: int) -> str:
    """Each statement adds one to the one before it."""
    lines = ["input T0[i,j], V[j,e]"]
    lines += [f"T{k}[i,j] = T{k - 1}[i,j] + 1" for k in range(1, count + 1)]
    return _text([*lines, f"O[i,e] += T{count}[i,j] * V[j,e]", "output O[i,e]"])


def masked_chain(count: int) -> str:
    """A chain with a mask in each statement."""
    lines = ["input T0[i,j], V[j,e]"]
    lines += [
        f"T{k}[i,j] = T{k - 1}[i,j] * T{k - 1}[i,j] where j <= i + {count - k}" for k in range(1, count + 1)
    ]
    return _text([*lines, f"O[i,e] += T{count}[i,j] * V[j,e]", "output O[i,e]"])


def softmaxes(count: int) -> str:
    """Each attention's result is the queries of the next."""
    lines = ["input Q0[i,d], K[j,d], V[j,d]"]
    for k in range(1, count + 1):
        lines += [
            f"S{k}[i,j] += Q{k - 1}[i,d] * K[j,d]",
            f"P{k}[i,j] = softmax[j](S{k}[i,j])",
            f"Q{k}[i,d] += P{k}[i,j] * V[j,d]",
        ]
    return _text([*lines, f"output Q{count}[i,d]"])


def row_softmaxes(count: int) -> str:
    """A softmax of a softmax, again and again, over the same scores."""
    lines = ["input Q[i,d], K[j,d], V[j,e]", "X0[i,j] += Q[i,d] * K[j,d]"]
    lines += [f"X{k}[i,j] = softmax[j](X{k - 1}[i,j])" for k in range(1, count + 1)]
    return _text([*lines, f"O[i,e] += X{count}[i,j] * V[j,e]", "output O[i,e]"])


def functions(count: int) -> str:
    """Each function calls the one before; every statement calls one of them."""
    depth = 25
    lines = ["input X[i,j], V[j,e]", "def f0(x) = x * 0.5"]
    lines += [
        f"def f{k}(x) = f{k - 1}(x) + 1" if k % depth else f"def f{k}(x) = x * 0.5"
        for k in range(1, count + 1)
    ]
    lines += [
        f"T{k}[i,j] = f{k * depth - 1}({f'T{k - 1}' if k > 1 else 'X'}[i,j])"
        for k in range(1, count // depth + 1)
    ]
    return _text([*lines, f"O[i,e] += T{count // depth}[i,j] * V[j,e]", "output O[i,e]"])


def calls(count: int) -> str:
    """Many calls of one function, in many statements."""
    lines = ["input T0[i,j], V[j,e]", "def f(x) = x * 0.5 + 1"]
    each = 10
    lines += [f"T{k}[i,j] = " + " + ".join([f"f(T{k - 1}[i,j])"] * each) for k in range(1, count // each + 1)]
    return _text([*lines, f"O[i,e] += T{count // each}[i,j] * V[j,e]", "output O[i,e]"])


def inputs(count: int) -> str:
    """Many inputs, one sum."""
    lines = ["input " + ", ".join(f"X{k}[i,j]" for k in range(count)), "input V[j,e]"]
    lines += ["Y0[i,j] = X0[i,j] * X1[i,j]"]
    lines += [f"Y{k}[i,j] = Y{k - 1}[i,j] + X{k}[i,j]" for k in range(1, count)]
    return _text([*lines, f"O[i,e] += Y{count - 1}[i,j] * V[j,e]", "output O[i,e]"])


def outputs(count: int) -> str:
    """Many outputs of one map."""
    lines = ["input Q[i,d], K[j,d], V[j,e]", "S[i,j] += Q[i,d] * K[j,d]", "P[i,j] = softmax[j](S[i,j])"]
    lines += [f"O{k}[i,e] += P[i,j] * V[j,e] * {k + 1}" for k in range(count)]
    return _text([*lines, *(f"output O{k}[i,e]" for k in range(count))])


def indices(count: int) -> str:
    """Many indices, each of one small tensor."""
    lines = [f"index n{k} < {k % 5 + 2}" for k in range(count)]
    lines += ["input X[i,j], V[j,e]"]
    lines += [f"B{k}[i] += n{k} * size(i)" for k in range(0)]
    lines += [f"A{k}[i,j] += X[i,j] * n{k}" for k in range(count)]
    lines += ["T0[i,j] = A0[i,j]", *(f"T{k}[i,j] = T{k - 1}[i,j] + A{k}[i,j]" for k in range(1, count))]
    return _text([*lines, f"O[i,e] += T{count - 1}[i,j] * V[j,e]", "output O[i,e]"])


def layer_norm_linear(count: int) -> str:
    """Linear attention with a norm-aware map and a layer norm of its output, ``count`` times over."""
    lines = ["input Y0[i,d], K[j,d], V[j,d]"]
    for k in range(1, count + 1):
        q = f"Y{k - 1}"
        lines += [
            f"N{k}[i] += {q}[i,d] ** 2", f"M{k}[j] += K[j,d] ** 2",
            f"A{k}[i,d] = relu({q}[i,d]) ** 2 / sqrt(N{k}[i] + 0.001)", f"B{k}[j,d] = relu(K[j,d]) ** 2 / sqrt(M{k}[j] + 0.001)",
            f"S{k}[i,j] += A{k}[i,d] * B{k}[j,d]",
            f"L{k}[i] += S{k}[i,j] where j <= i",
            f"U{k}[i,d] += S{k}[i,j] * V[j,d] where j <= i",
            f"W{k}[i,d] = U{k}[i,d] / (L{k}[i] + 0.001)",
            f"mu{k}[i] mean= W{k}[i,d]", f"var{k}[i] mean= (W{k}[i,d] - mu{k}[i]) ** 2",
            f"Y{k}[i,d] = (W{k}[i,d] - mu{k}[i]) / sqrt(var{k}[i] + 0.001)",
        ]  # fmt: skip
    return _text([*lines, f"output Y{count}[i,d]"])


def _text(lines: list[str]) -> str:
    return HEAD + "\n".join(lines) + "\n"


SHAPES: dict[str, Callable[[int], str]] = {
    f.__name__: f
    for f in (
        doubling, chain, masked_chain, softmaxes, row_softmaxes, functions, calls, inputs, outputs, indices,
        layer_norm_linear,
    )
}  # fmt: skip
