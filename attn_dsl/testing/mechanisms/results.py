"""Random results: sums over the values, what becomes of them, and what else is of interest about a row."""

from __future__ import annotations

from collections.abc import Callable

from attn_dsl.testing.mechanisms.frame import Frame, joined, laid_out
from attn_dsl.testing.mechanisms.operands import along, value
from attn_dsl.testing.mechanisms.terms import unary


def results(frame: Frame, x: str, p: str) -> list[str]:
    """The outputs, from scores and weights over all pairs."""
    outputs = [] if frame.choices.once_in(20) else [_main(frame, p)]
    for _ in range(frame.choices.among((0, 1, 0, 2, 0))):
        outputs.append(frame.choices.among(_STATISTICS)(frame, x, p))
    if frame.choices.once_in(40):
        outputs.append(_scalar(frame, x, p))
    return outputs or [frame.choices.among(_STATISTICS)(frame, x, p)]


def two_streams(f: Frame, x: str) -> list[str]:
    """One softmax over two sets of keys, and perhaps a sink."""
    second = _second_scores(f)
    m, w, total = f.fresh("m"), f.fresh("w"), f.fresh("l")
    f.state(m, f.row, "max=", x)
    f.state(m, f.row, "max=", second)
    sink = f.per_head("sink") if f.choices.once_in(3) else ""
    if sink:
        f.state(m, f.row, "max=", sink)
    largest = f"detach({m}[{f.row}])"
    first = f.define(w, f.pair, "=", f"exp({x} - {largest})")
    other = f.define(w, joined(f.row, "n"), "=", f"exp({second} - {largest})")
    for each in (first, other, *([f"exp({sink} - {largest})"] if sink else [])):
        f.state(total, f.row, "+=", each)
    summed = f.fresh("A")
    f.state(summed, joined(f.row, "e"), "+=", f"{first} * {value(f)}")
    f.state(summed, joined(f.row, "e"), "+=", f"{other} * {f.tensor('V2', joined(f.key_lead, 'n', 'e'))}")
    result = f.define("O", joined(f.row, "e"), "=", f"{summed}[{joined(f.row, 'e')}] / {total}[{f.row}]")
    extra = f.choices.among(([], [laid_out(total, f.row)], [laid_out(m, f.row, "f32")]))
    return [_declared(result, joined(f.row, "e")), *extra]


def _second_scores(f: Frame) -> str:
    query = f.tensor("Q", joined(f.row, "d"))
    s = f.define("T", joined(f.row, "n"), "+=", f"{query} * {f.tensor('K2', joined(f.key_lead, 'n', 'd'))}")
    guard = f.one_of("", f"n <= {f.at_query}", "n % 2 == 0", f"abs({f.at_query} - n) < 4")
    return f.define("Y", joined(f.row, "n"), "=", f"{s} / sqrt(size(d))", guard)


def _declared(read: str, indices: str, dtype: str = "") -> str:
    return laid_out(read.split("[")[0], indices, dtype)


def _main(f: Frame, p: str) -> str:
    rows = joined(f.row, "e")
    operator = f.choices.among(("+=", "+=", "+=", "+=", "+=", "+=", "+=", "mean=", "max=", "min="))
    a = f.define("A", rows, operator, f"{p} * {value(f)}")
    if not f.choices.once_in(3):
        return _declared(a, rows)
    return f.choices.among(_EPILOGUES)(f, a, rows)


def _gated(f: Frame, a: str, rows: str) -> str:
    gate = f.tensor("gate", f.row)
    return _declared(f.define("O", rows, "=", f"{f.one_of('sigmoid', 'silu')}({gate}) * {a}"), rows)


def _residual(f: Frame, a: str, rows: str) -> str:
    x = f.tensor("before", rows)
    return _declared(
        f.define("O", rows, "=", f.one_of(f"{x} + default({a}, 0)", f"{x} + {a}", f"{a} * {x}")), rows
    )


def _function(f: Frame, a: str, rows: str) -> str:
    return _declared(f.define("O", rows, "=", unary(f.choices, a)), rows)


def _normalised(f: Frame, a: str, rows: str) -> str:
    norm = f.define("norm", f.row, f.one_of("mean=", "+=", "max="), f"{a} * {a}")
    return _declared(f.define("O", rows, "=", f"{a} * rsqrt({norm} + 0.1)"), rows)


def _projected(f: Frame, a: str, rows: str) -> str:
    columns = joined(f.row, "c")
    return _declared(
        f.define("O", columns, "+=", f"{a} * {f.tensor('Wo', joined(f.own_heads, 'e,c'))}"), columns
    )


def _over_heads(f: Frame, a: str, rows: str) -> str:
    """The heads, projected and added up."""
    if not f.own_heads:
        return _projected(f, a, rows)
    columns = joined(f.batch, f.query, "c")
    return _declared(
        f.define("O", columns, "+=", f"{a} * {f.tensor('Wo', joined(f.own_heads, 'e,c'))}"), columns
    )


_EPILOGUES: tuple[Callable[[Frame, str, str], str], ...] = (
    _function, _gated, _residual, _normalised, _projected, _over_heads,
)  # fmt: skip


def _statistic(f: Frame, base: str, operator: str, body: str, dtype: str = "") -> str:
    return _declared(f.define(base, f.row, operator, body), f.row, dtype)


def _logsumexp(f: Frame, x: str, p: str) -> str:
    return _statistic(f, "L", "=", f"logsumexp[{f.key}]({x})", f.one_of("", "f32"))


def _extreme(f: Frame, x: str, p: str) -> str:
    return _statistic(f, "M", f.one_of("max=", "min="), f.one_of(x, p, f"abs({x})"))


def _count(f: Frame, x: str, p: str) -> str:
    return _statistic(f, "N", "+=", f"{x} > {f.one_of('0', '0.5')}", f.one_of("", "i32"))


def _entropy(f: Frame, x: str, p: str) -> str:
    return _statistic(f, "H", "+=", f.one_of(f"{p} * {x}", f"-{p} * log(abs({p}) + 0.01)"), "f32")


def _moment(f: Frame, x: str, p: str) -> str:
    return _statistic(f, "W", f.one_of("mean=", "+="), f.one_of(f"{p} ** 2", x, f"({x}) ** 2"))


def _truth(f: Frame, x: str, p: str) -> str:
    return _statistic(f, "Y", f.one_of("any=", "all="), f"{x} > {f.one_of('1', '-1')}")


def _position(f: Frame, x: str, p: str) -> str:
    return _statistic(
        f, "T", f.one_of("max=", "min=", "+="), f"({f.at_key} if {x} > 0 else {f.number(0, 3)})"
    )


def _expected_place(f: Frame, x: str, p: str) -> str:
    return _statistic(f, "C", "+=", f"{p} * {f.at_key}")


def _product(f: Frame, x: str, p: str) -> str:
    return _statistic(f, "Z", "*=", f"1 - 0.1 * tanh({x})")


def _of_keys(f: Frame, x: str, p: str) -> str:
    """The weight every key has received."""
    columns = joined(f.lead, f.key)
    return _declared(f.define("I", columns, f.one_of("+=", "max="), p), columns, f.one_of("f32", ""))


def _pairs(f: Frame, x: str, p: str) -> str:
    return _declared(f.define("PP", f.pair, "=", f.one_of(p, x)), f.pair, f.one_of("f32", ""))


def _other_values(f: Frame, x: str, p: str) -> str:
    """The same weights over other values, of another size."""
    columns = joined(f.row, "f")
    return _declared(f.define("F", columns, "+=", f"{p} * {f.tensor('U', joined(f.key_row, 'f'))}"), columns)


def _values_along(f: Frame, x: str, p: str) -> str:
    """A value for each distance."""
    columns = joined(f.row, "e")
    return _declared(f.define("G", columns, "+=", f"{p} * {along(f, 'e')}"), columns)


def _scalar(f: Frame, x: str, p: str) -> str:
    """One number of all rows and keys."""
    return _declared(f.define("R", "", f.one_of("+=", "mean=", "max="), f.one_of(x, f"tanh({x})", p)), "")


_STATISTICS: tuple[Callable[[Frame, str, str], str], ...] = (
    _logsumexp, _extreme, _count, _entropy, _moment, _truth, _position, _expected_place, _product, _of_keys, _pairs,
    _other_values, _values_along,
)  # fmt: skip
