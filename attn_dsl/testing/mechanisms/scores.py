"""Random scores: how a query meets a key, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable

from attn_dsl.testing.mechanisms.frame import Frame, joined
from attn_dsl.testing.mechanisms.masks import predicate
from attn_dsl.testing.mechanisms.operands import along, key, query
from attn_dsl.testing.mechanisms.taps import of_scores
from attn_dsl.testing.mechanisms.terms import term, unary


def product(frame: Frame) -> str:
    """A tensor S over all pairs."""
    if not frame.choices.once_in(3):
        return frame.define("S", frame.pair, "+=", f"{query(frame)} * {key(frame)}")
    return frame.choices.among(_MEETINGS)(frame)


def score(frame: Frame, s: str) -> str:
    """An expression over all pairs that starts from their product s."""
    x = frame.one_of(f"{s} / sqrt(size(d))", f"{s} * {frame.real(0.3, 1.0)}", s)
    for _ in range(frame.choices.number(0, 3)):
        x = frame.choices.among(_STEPS)(frame, x, s)
    return x


def _distance(f: Frame) -> str:
    q, k = query(f), key(f)
    return f.define("S", f.pair, "+=", f.one_of(f"-abs({q} - {k})", f"-0.5 * ({q} - {k}) ** 2"))


def _weighted(f: Frame) -> str:
    weights = f.tensor("metric", joined(f.own_heads, "d"))
    return f.define("S", f.pair, "+=", f"{query(f)} * {weights} * {key(f)}")


def _two_products(f: Frame) -> str:
    """Two kinds of features add up, in one tensor or in two."""
    s = f.define("S", f.pair, "+=", f"{query(f)} * {key(f)}")
    second = f"{f.tensor('Qr', joined(f.row, 'c'))} * {f.tensor('Kr', joined(f.key_row, 'c'))}"
    if f.choices.once_in(2):
        return f.define("SS", f.pair, "=", f"{s} + {f.define('R', f.pair, '+=', second)}")
    f.state(s.split("[")[0], f.pair, "+=", second, predicate(f, depth=0) if f.choices.once_in(3) else "")
    return s


def _tropical(f: Frame) -> str:
    return f.define("S", f.pair, f.one_of("max=", "min="), f"{query(f)} + {key(f)}")


def _additive(f: Frame) -> str:
    """A number of the row and one of the key."""
    f.tensor("Q", joined(f.row, "d"))
    return f.define("S", f.pair, "=", f"{f.tensor('qs', f.row)} + {f.tensor('ks', f.key_row)}")


def _some_features(f: Frame) -> str:
    where = f.one_of("d % 3 != 1", "d > 0", f"d < 4 or {f.at_key} % 2 == 0")
    return f.define("S", f.pair, "+=", f"{query(f)} * {key(f)}", where)


def _outer_features(f: Frame) -> str:
    """Additive attention: a nonlinearity between the sum of two features and their reduction."""
    weights = f.tensor("metric", joined(f.own_heads, "d"))
    return f.define("S", f.pair, "+=", f"{weights} * tanh({query(f)} + {key(f)})")


def _by_distance(f: Frame) -> str:
    """The query or the key meets a vector for their distance too."""
    s = f.define("S", f.pair, "+=", f"{query(f)} * {key(f)}")
    met = f.one_of(f"{query(f)}", f"{key(f)}", f"({query(f)} + 0.5)")
    second = f"{met} * {along(f, 'd')}"
    if f.choices.once_in(2):
        return f.define("SS", f.pair, "=", f"{s} + {f.define('R', f.pair, '+=', second)}")
    f.state(s.split("[")[0], f.pair, "+=", second)
    return s


_MEETINGS: tuple[Callable[[Frame], str], ...] = (
    _two_products, _weighted, _distance, _tropical, _additive, _some_features, _outer_features,
    _by_distance, _by_distance,
)  # fmt: skip


def _bias(f: Frame, x: str, s: str) -> str:
    over = joined(f.own_heads, f.query, f.key)
    bias, beside = f.tensor("bias", over), f.tensor("bias", over, read=f"{over} + 1")
    return f.one_of(f"{x} + {bias}", f"{x} + default({beside}, 0.5)", f"({x}) * {bias}", f"{x} + {beside}")


def _distances(f: Frame, x: str, s: str) -> str:
    """A table by distance; beyond its end there is no bias, or no pair."""
    place = f.one_of(
        f"abs({f.at_query} - {f.at_key})",
        f"{f.at_query} - {f.at_key} + 8",
        f"({f.at_query} + {f.at_key}) // 2",
    )
    read = f.tensor("table", joined(f.own_heads, "_"), read=joined(f.own_heads, place))
    return f.one_of(f"{x} + default({read}, 0)", f"{x} + {read}", f"({x}) * default({read}, 1.0)")


def _slope(f: Frame, x: str, s: str) -> str:
    if f.choices.once_in(2):
        return f"{x} + alibi({f.per_head('slope')}, {f.at_query}, {f.at_key})"
    return f"{x} - {f.per_head('slope')} * abs({f.at_query} - {f.at_key})"


def _temperature(f: Frame, x: str, s: str) -> str:
    if f.choices.once_in(2):
        return f"({x}) / (1 + abs({f.tensor('tau', '')}))"
    return f"({x}) * sigmoid({f.tensor('heat', f.row)})"


def _function(f: Frame, x: str, s: str) -> str:
    return unary(f.choices, x)


def _conditional(f: Frame, x: str, s: str) -> str:
    i, j = f.at_query, f.at_key
    condition = f.one_of(f"({i} + {j}) % 3 != 0", f"{j} < {i}", f"{s} > 0", f"{i} - {j} < {f.number(1, 9)}")
    other = f.one_of(f"0.5 * ({x})", "0.25", f"-({x})")
    return f"({x} if {condition} else {other})"


def _by_position(f: Frame, x: str, s: str) -> str:
    i, j = f.at_query, f.at_key
    return f.one_of(
        f"{x} + 0.1 * ({i} - {j})", f"({x}) * (1 + {j} % 3)", f"{x} + cos(0.5 * {i}) * 0.5", f"{x} - log(1 + {j})",
        f"{x} + 0.2 * ({j} <= {i})", f"({x}) * {i} / (1 + {j})",
    )  # fmt: skip


def _labels(f: Frame, x: str, s: str) -> str:
    """A table of pairs of labels."""
    own, other = (
        f.tensor("docq", joined(f.batch, f.query), "i32"),
        f.tensor("dock", joined(f.batch, f.key), "i32"),
    )
    pairs = f.tensor("mix", "4,4", read=joined(f"{own} % 4", f"{other} % 4"))
    return f"{x} + {pairs}"


def _noise(f: Frame, x: str, s: str) -> str:
    seed = f.tensor("seed", "", "i64")
    head = f.own_heads[-1:] or "0"
    return f"{x} + 0.1 * uniform({seed}, {head}, {f.at_query}, {f.at_key})"


def _expression(f: Frame, x: str, s: str) -> str:
    atoms = (
        x,
        s,
        "0.5",
        f"0.1 * {f.at_key}",
        f.tensor("heat", f.row),
        f.tensor("age", joined(f.batch, f.key)),
    )
    return term(f.choices, atoms, 3)


def _running(f: Frame, x: str, s: str) -> str:
    """The difference of two running sums."""
    if f.key == "u,v" or f.query == "x,y":
        return x
    rates = f.tensor("rate", joined(f.lead, "n"))
    total = f.define("G", joined(f.lead, "i"), "+=", f"-softplus({rates})", "n <= i")
    at_key = f"default({total.split('[')[0]}[{joined(f.lead, 'j')}], 0)"
    return f"{x} + {total} - {at_key}"


def _remainders(f: Frame, x: str, s: str) -> str:
    """Of integers and of reals, by divisors of both signs, that may be 0 or larger than what is divided."""
    i, j = f.at_query, f.at_key
    if f.choices.once_in(2):
        age, divisor = (
            f.tensor("age", joined(f.batch, f.key)),
            f.one_of("1.5", "-0.7", "3", f.per_head("limit")),
        )
        return f.one_of(f"{x} + 0.1 * ({age} % {divisor})", f"{x} + clamp({age} // {divisor}, -3, 3)")
    code = f.tensor("code", joined(f.batch, f.key), f.one_of("i32", "i64", "i8", "i64"))
    return f.one_of(
        f"{x} + 0.1 * ({code} % 7)", f"{x} + 0.1 * (({i} - {j}) % -3)", f"({x}) * ({code} // 3 % 5)",
        f"{x} + 0.1 * clamp({i} // {code}, -9, 9)", f"{x} - 0.1 * (({code} >> 3) & 7)", f"{x} + 0.1 * ({j} << 1) / (1 + {i})",
        f"{x} + clamp({code}, -2, 2) % ({j} - {i})",
    )  # fmt: skip


def _beside(f: Frame, x: str, s: str) -> str:
    """A mask on one operand only."""
    y = f.define("Y", f.pair, "=", f.one_of(s, f"tanh({s})"), predicate(f, depth=1))
    return f.one_of(
        f"{x} + default({y}, 0.1)", f"max({x}, default({y}, -1))", f"({y} if present({y}) else {x})", f"{x} - {y}",
        f"({x}) * (1 + present({y}))", f"({x} if {f.at_key} < {f.at_query} else {y})",
    )  # fmt: skip


_STEPS: tuple[Callable[[Frame, str, str], str], ...] = (
    _function, _bias, _distances, _slope, _temperature, _function, _conditional, _by_position, _labels, _noise, _expression,
    _running, of_scores, _remainders, _beside,
)  # fmt: skip
