"""Random normalisers: from a score X over all pairs to weights P, in one or several passes."""

from __future__ import annotations

from collections.abc import Callable

from attn_dsl.testing.mechanisms.frame import Frame, joined
from attn_dsl.testing.mechanisms.masks import predicate
from attn_dsl.testing.mechanisms.scores import score
from attn_dsl.testing.mechanisms.terms import term, unary


def weights(frame: Frame, x: str, s: str) -> str:
    """An expression over all pairs, from the scores ``x`` and the bare products ``s``."""
    return frame.choices.among(_NORMALISERS)(frame, x, s)


def _softmax(f: Frame, x: str, s: str) -> str:
    call = f.one_of("softmax", "softmax", "softmin", "softmax1", "softmax_sink")
    sink = f", {f.per_head('sink')}" if call == "softmax_sink" else ""
    return f"{call}[{f.key}]({x}{sink})"


def _pointwise(f: Frame, x: str, s: str) -> str:
    return f.one_of(
        f"sigmoid({x})", f"relu({x}) ** 2", x, f"softplus({x}) / 7", f"sigmoid({x} - log(1 + size(d)))",
        f"{x} * 0.95 ** abs({f.at_query} - {f.at_key})", f"exp(clamp({x}, -3, 3))", unary(f.choices, x),
        f"({x} > 0)", f"({x} > 0) * {x}",
    )  # fmt: skip


def _by_magnitude(f: Frame, x: str, s: str) -> str:
    return f"l1_normalise[{f.key}]({f.one_of(x, f'softplus({x})', f'sigmoid({x})', f'exp(-abs({x}))')})"


def _by_hand(f: Frame, x: str, s: str) -> str:
    """A maximum, weights and their sum."""
    m = f.define("m", f.row, "max=", x)
    w = f.define(
        "w", f.pair, "=", f.one_of(f"exp({x} - detach({m}))", f"exp2({x} - {m})", f"exp(2 * ({x} - {m}))")
    )
    total = f.define("l", f.row, "+=", f.one_of(w, w, f"{w} * {w}"))
    return f"{w} / {f.one_of(total, f'(1 + {total})', f'sqrt({total})')}"


def _extrema(f: Frame, x: str, s: str) -> str:
    """Folds that follow extrema with other bodies than a softmax's, and sums of terms that cancel."""
    m = f.define("m", f.row, f.one_of("max=", "min="), x)
    other = f.define("M", f.row, f.one_of("min=", "max="), f.one_of(s, f"abs({s})", f"-({x})"))
    w = f.define("w", f.pair, "=", f.one_of(
        f"exp({x} - {m})", f"exp(min({s} + {m}, 3))", f"exp({s} + {m})", f"({x}) / (0.5 + abs({m}))", f"{m} - {x}",
        f"exp(-abs({x} - {m}))", f"({x} - {m}) * exp2(-abs({s} - {other}))", f"exp({x} - max({m}, {other}))",
    ))  # fmt: skip
    sign = f"(1 - 2 * ({f.at_key} % 2))"
    total = f.define("l", f.row, "+=", f.one_of(w, f"{w} * {sign}", f"{w} - exp(min({s}, 2))", f"{w} * {m}"))
    return f.one_of(
        f"{w} / (0.1 + abs({total}))", f"{w} * {m} / (0.5 + abs({other}))", f"{w} + {total} * 0.01",
        f"{w} * ({m} - {other})", w,
    )  # fmt: skip


def _range(f: Frame, x: str, s: str) -> str:
    """Between two extremes of the row."""
    lo, hi = f.define("lo", f.row, "min=", x), f.define("hi", f.row, "max=", x)
    return f"({x} - {lo}) / (1 + {hi} - {lo})"


def _centred(f: Frame, x: str, s: str) -> str:
    """Moments of a row, then its softmax."""
    mu = f.define("mu", f.row, "mean=", x)
    centred = f"{x} - {mu}"
    if f.choices.once_in(2):
        var = f.define("var", f.row, "mean=", f"({centred}) ** 2")
        centred = f"({centred}) * rsqrt({var} + 0.5)"
    z = f.define("Z", f.pair, "=", centred)
    return f"softmax[{f.key}]({z})"


def _renormalised(f: Frame, x: str, s: str) -> str:
    """A softmax cut off below, and what is left normalised again."""
    b = f.define("B", f.pair, "=", f"softmax[{f.key}]({x})")
    c = f.define("C", f.pair, "=", f"relu({b} - {f.one_of('0.02', '0.1')})")
    total = f.define("c", f.row, "+=", c)
    return f"{c} / ({total} + 0.01)"


def _difference(f: Frame, x: str, s: str) -> str:
    """Two softmaxes of different scores or over different keys."""
    z = f.define("Z", f.pair, "=", score(f, s), predicate(f, s, 1))
    b = f.define("B", f.pair, "=", f"softmax[{f.key}]({x})")
    c = f.define("C", f.pair, "=", f"softmax[{f.key}]({z})")
    return f"{b} - {f.per_head('lam')} * {f.one_of(f'default({c}, 0)', c)}"


def _decaying(f: Frame, x: str, s: str) -> str:
    """No normaliser: weights decay with the distance."""
    i, j = f.at_query, f.at_key
    rate = f.define("rate", f.own_heads, "=", f"sigmoid({f.per_head('decay')})")
    return f.define("D", f.pair, "=", f"{x} * {rate} ** ({i} - {j})", f"{j} <= {i}")


def _by_keys(f: Frame, x: str, s: str) -> str:
    """Normalised over the queries, as slots are."""
    b = f.define("B", f.pair, "=", f"softmax[{f.query}]({x})")
    if f.choices.once_in(2):
        return b
    total = f.define("l", f.row, "+=", b)
    return f"{b} / (0.01 + {total})"


def _products(f: Frame, x: str, s: str) -> str:
    """What none of the others takes."""
    rest = f.define("z", f.row, "*=", f"1 - 0.2 * sigmoid({x})")
    return f"sigmoid({x}) * {rest}"


def _logical(f: Frame, x: str, s: str) -> str:
    """Softmax for rows in which something holds, plain weights for others."""
    some = f.define("some", f.row, f.one_of("any=", "all="), f"{x} > {f.one_of('0.5', '-2')}")
    b = f.define("B", f.pair, "=", f"softmax[{f.key}]({x})")
    return f"({b} if {some} else {f.one_of('sigmoid(' + x + ')', '0.1', b + ' / 2')})"


def _counted(f: Frame, x: str, s: str) -> str:
    """Divided by the number of the keys that there are."""
    count = f.define("N", f.row, "+=", f.one_of(f"{x} > 0", f"{x} < 9"))
    return f.one_of(f"relu({x}) / ({count} + 1)", f"softmax[{f.key}]({x} * log(2 + {count}))")


def _at_the_best(f: Frame, x: str, s: str) -> str:
    """Only keys near the largest score, or near the last key."""
    if f.choices.once_in(2):
        last = f.define("last", f.row, "max=", f.key[-1], f"{s} > 0")
        return f"(softmax[{f.key}]({x}) if {f.key[-1]} < {last} else 0.1)"
    m = f.define("m", f.row, "max=", x)
    z = f.define("Z", f.pair, "=", x, f"{x} >= {m} - 0.7")
    return f"softmax[{f.key}]({z})"


def _function(f: Frame, x: str, s: str) -> str:
    """A cascade function of a few reductions, each of what came before."""
    name = f.fresh("mix")
    body, atoms = list[str](), ["x"]
    for local in ("p", "q", "t")[: f.choices.number(1, 3)]:
        shape = f.choices.number(0, 5)
        operator = "=" if shape == 5 else ("max=", "min=", "+=", "mean=", "+=")[shape]
        body.append(f"{local} {operator} {_bounded(f, term(f.choices, atoms, 2))}")
        atoms.append(local)
    result = term(f.choices, atoms, 3)
    if not body or "x" not in result:
        result = f"x * 0.1 + {result}"
    f.heads.append(f"def {name}[{f.key}](x) {{ {'; '.join(body)}; return {_bounded(f, result)} }}")
    return f"{name}[{f.key}]({x})"


def _bounded(f: Frame, x: str) -> str:
    """Kept from growing pass by pass; an own term, so that a reduction always has an x."""
    x = x if "x" in x.replace("exp", "").replace("max", "") else f"x * 0 + {x}"
    return f.one_of(x, f"({x}) / 4", f"tanh({x})")


def _sampled(f: Frame, x: str, s: str) -> str:
    """Thinned out by chance."""
    seed = f.tensor("seed", "", "i64")
    places = joined(f.lead[-1:], f.at_query, f.at_key)
    return f"softmax[{f.key}]({x}) * (uniform({seed}, {places}) > 0.3) / 0.7"


_NORMALISERS: tuple[Callable[[Frame, str, str], str], ...] = (
    _softmax, _softmax, _pointwise, _by_magnitude, _by_hand, _range, _centred, _renormalised, _difference, _decaying,
    _by_keys, _products, _logical, _counted, _at_the_best, _function, _function, _sampled,
    _extrema, _extrema,
)  # fmt: skip
