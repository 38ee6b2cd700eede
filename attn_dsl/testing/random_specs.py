"""Random mechanisms, as text: what no example has thought of.

Each is a product of queries and keys, a function of it, a predicate, a normaliser of one or several passes, and
one or more results; legal by construction.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from attn_dsl.testing.choices import Choices
from attn_dsl.testing.random_masks import predicate
from attn_dsl.testing.random_names import Frame, frame, key_heads, per_head
from attn_dsl.testing.random_scores import score


@st.composite
def specifications(draw: st.DrawFn) -> str:
    """Texts of random mechanisms."""
    return specification(Choices(lambda n: draw(st.integers(0, n - 1))))


def specification(choices: Choices) -> str:
    """The text of one random mechanism."""
    f = frame(choices)
    f.lines.append(f"S[{f.pair}] += Q[{f.row},d] * K[b,{key_heads(f)},{f.key},d]")
    guard = f"  where {predicate(f)}" if not choices.once_in(6) else ""
    f.lines.append(f"X[{f.pair}] = {score(f)}{guard}")
    outputs = choices.among(_NORMALISERS)(f)
    return f.text([_laid_out(f, name, dims) for name, dims in outputs])


Results = list[tuple[str, str]]
"""Results and their dims, as the statements write them."""


def _weighted(f: Frame, body: str) -> Results:
    """O from weights P: the sum over the values, gated or thinned out, and what else is of interest."""
    values = f"V[b,{key_heads(f)},{f.key},e]"
    f.lines.append(f"P[{f.pair}] = {body}")
    weight = f"P[{f.pair}]"
    if f.choices.once_in(6):
        f.input("seed", "", "i64")
        weight += f" * (uniform(seed, b, {f.heads[0]}, {f.at_query}, {f.at_key}) > 0.3)"
    if f.choices.once_in(4):
        f.input("gate", f"b, {per_head(f)}, {'(x y)' if f.key == 'u,v' else 'i'}")
        f.lines.append(f"A[{f.row},e] += {weight} * {values}")
        f.lines.append(f"O[{f.row},e] = {f.one_of('sigmoid(gate', 'silu(gate')}[{f.row}]) * A[{f.row},e]")
    else:
        f.lines.append(f"O[{f.row},e] += {weight} * {values}")
    return [("O", f"{f.row},e"), *_statistics(f)]


def _statistics(f: Frame) -> Results:
    kind = f.choices.number(0, 11)
    name, line = {
        0: ("L", f"L[{f.row}] = logsumexp[{f.key}](X[{f.pair}])"),
        1: ("M", f"M[{f.row}] max= X[{f.pair}]"),
        2: ("N", f"N[{f.row}] += X[{f.pair}] > 0"),
        3: ("E", f"E[{f.row}] += P[{f.pair}] * X[{f.pair}]"),
        4: ("W", f"W[{f.row}] mean= P[{f.pair}]"),
        5: ("Y", f"Y[{f.row}] any= X[{f.pair}] > 1"),
    }.get(kind, ("", ""))
    if not name:
        return []
    f.lines.append(line)
    return [(name, f.row)]


def _softmax(f: Frame) -> Results:
    sink = ""
    call = f.one_of("softmax", "softmax", "softmin", "softmax1", "softmax_sink")
    if call == "softmax_sink":
        f.input("sink", per_head(f))
        sink = f", sink[{f.heads}]"
    return _weighted(f, f"{call}[{f.key}](X[{f.pair}]{sink})")


def _pointwise(f: Frame) -> Results:
    x = f"X[{f.pair}]"
    return _weighted(
        f,
        f.one_of(
            f"sigmoid({x})",
            f"relu({x}) ** 2",
            f"tanh({x})",
            f"exp(clamp({x}, -3, 3))",
            x,
            f"softplus({x}) / 7",
            f"sigmoid({x} - log(1 + size(d)))",
            f"{x} * 0.95 ** abs({f.at_query} - {f.at_key})",
        ),
    )


def _by_magnitude(f: Frame) -> Results:
    x = f"X[{f.pair}]"
    return _weighted(
        f, f"l1_normalise[{f.key}]({f.one_of(x, f'softplus({x})', f'sigmoid({x})', f'exp(-abs({x}))')})"
    )


def _by_hand(f: Frame) -> Results:
    """A maximum, weights and their sum, divided after the second product."""
    f.lines += [
        f"m[{f.row}] max= X[{f.pair}]",
        f"w[{f.pair}] = exp(X[{f.pair}] - detach(m[{f.row}]))",
        f"l[{f.row}] += w[{f.pair}]",
        f"A[{f.row},e] += w[{f.pair}] * V[b,{key_heads(f)},{f.key},e]",
        f"O[{f.row},e] = A[{f.row},e] / {f.one_of(f'l[{f.row}]', f'(1 + l[{f.row}])')}",
    ]
    return [("O", f"{f.row},e"), *f.choices.among(([], [("m", f.row)], [("l", f.row), ("m", f.row)]))]


def _range(f: Frame) -> Results:
    """Two extremes of a row, then a further pass."""
    f.lines += [f"lo[{f.row}] min= X[{f.pair}]", f"hi[{f.row}] max= X[{f.pair}]"]
    return _weighted(f, f"(X[{f.pair}] - lo[{f.row}]) / (1 + hi[{f.row}] - lo[{f.row}])")


def _centred(f: Frame) -> Results:
    """Moments of a row, then its softmax."""
    f.lines.append(f"mu[{f.row}] mean= X[{f.pair}]")
    centred = f"X[{f.pair}] - mu[{f.row}]"
    if f.choices.once_in(2):
        f.lines.append(f"var[{f.row}] mean= ({centred}) ** 2")
        centred = f"({centred}) * rsqrt(var[{f.row}] + 0.5)"
    f.lines.append(f"Z[{f.pair}] = {centred}")
    return _weighted(f, f"softmax[{f.key}](Z[{f.pair}])")


def _renormalised(f: Frame) -> Results:
    """A softmax cut off below, and what is left normalised again."""
    f.lines += [
        f"B[{f.pair}] = softmax[{f.key}](X[{f.pair}])",
        f"C[{f.pair}] = relu(B[{f.pair}] - {f.one_of('0.02', '0.1')})",
        f"c[{f.row}] += C[{f.pair}]",
    ]
    return _weighted(f, f"C[{f.pair}] / (c[{f.row}] + 0.01)")


def _difference(f: Frame) -> Results:
    """Two softmaxes of different scores or over different keys."""
    f.input("lam", per_head(f))
    f.lines += [
        f"Z[{f.pair}] = {score(f)}  where {predicate(f, 1)}",
        f"B[{f.pair}] = softmax[{f.key}](X[{f.pair}])",
        f"C[{f.pair}] = softmax[{f.key}](Z[{f.pair}])",
    ]
    other = f.one_of(f"default(C[{f.pair}], 0)", f"C[{f.pair}]")
    return _weighted(f, f"B[{f.pair}] - lam[{f.heads}] * {other}")


def _two_streams(f: Frame) -> Results:
    """One softmax over two sets of keys."""
    h = key_heads(f)
    f.input("K2", f"b, {h}, n, d")
    f.input("V2", f"b, {h}, n, e")
    guard = f.one_of("", f"  where n <= {f.at_query}", "  where n % 2 == 0")
    f.lines += [
        f"T[{f.row},n] += Q[{f.row},d] * K2[b,{h},n,d]",
        f"Z[{f.row},n] = T[{f.row},n] / sqrt(size(d)){guard}",
        f"m[{f.row}] max= X[{f.pair}]",
        f"m[{f.row}] max= Z[{f.row},n]",
        f"w[{f.pair}] = exp(X[{f.pair}] - detach(m[{f.row}]))",
        f"v2[{f.row},n] = exp(Z[{f.row},n] - detach(m[{f.row}]))",
        f"l[{f.row}] += w[{f.pair}]",
        f"l[{f.row}] += v2[{f.row},n]",
        f"A[{f.row},e] += w[{f.pair}] * V[b,{h},{f.key},e]",
        f"A[{f.row},e] += v2[{f.row},n] * V2[b,{h},n,e]",
        f"O[{f.row},e] = A[{f.row},e] / l[{f.row}]",
    ]
    return [("O", f"{f.row},e"), *f.choices.among(([], [("l", f.row)]))]


def _decaying(f: Frame) -> Results:
    """No normaliser: weights decay with the distance."""
    f.input("decay", per_head(f))
    i, j = f.at_query, f.at_key
    f.lines.append(f"G[{f.heads}] = sigmoid(decay[{f.heads}])")
    f.lines.append(f"D[{f.pair}] = X[{f.pair}] * G[{f.heads}] ** ({i} - {j})  where {j} <= {i}")
    return _weighted(f, f"D[{f.pair}]")


_NORMALISERS: tuple[Callable[[Frame], Results], ...] = (
    _softmax, _softmax, _pointwise, _by_magnitude, _by_hand, _range, _centred, _renormalised, _difference, _two_streams,
    _decaying,
)  # fmt: skip


def _laid_out(f: Frame, name: str, dims: str) -> str:
    """A result with its composites put together again."""
    dims = dims.replace("g,r", "(g r)").replace("x,y", "(x y)")
    return f"{name}[{dims}]"
