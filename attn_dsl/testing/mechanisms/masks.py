"""Random predicates over a row and a key."""

from __future__ import annotations

from collections.abc import Callable

from attn_dsl.testing.mechanisms.frame import Frame, joined


def predicate(frame: Frame, score: str = "", depth: int = 2) -> str:
    """Comparisons, arithmetic, tables and labels, joined by and, or, not. ``score``: one it may look at."""
    shape = frame.choices.number(0, 7) if depth else 0
    if shape <= 3:
        at = frame.choices.number(0, len(_ATOMS) if score else len(_ATOMS) - 1)
        return _scores(frame, score) if at == len(_ATOMS) else _ATOMS[at](frame)
    if shape == 4:
        return f"not ({predicate(frame, score, depth - 1)})"
    if shape == 5:
        parts = [predicate(frame, score, depth - 1) for _ in range(3)]
        return f"({parts[0]} if {parts[1]} else {parts[2]})"
    joint = " and " if shape == 6 else " or "
    parts = [predicate(frame, score, depth - 1) for _ in range(frame.choices.number(2, 3))]
    return joint.join(f"({part})" for part in parts)


def guard(frame: Frame, score: str = "") -> str:
    """A predicate, perhaps as a named mask; once in five none at all."""
    if frame.choices.once_in(5):
        return ""
    condition = predicate(frame, score)
    if frame.choices.once_in(4) and "[" not in condition:
        name = frame.fresh("seen")
        frame.lines.append(f"mask {name} = {condition}")
        return name
    return condition


def _order(f: Frame) -> str:
    i, j = f.at_query, f.at_key
    return f.one_of(
        f"{j} <= {i}", f"{j} < {i}", f"{j} >= {i}", f"{i} != {j}", f"{j} * 2 <= {i} * 3", f"3 * {j} < {i}"
    )


def _band(f: Frame) -> str:
    i, j, w = f.at_query, f.at_key, f.number(1, 20)
    return f.one_of(
        f"{i} - {j} < {w}", f"abs({i} - {j}) <= {w}", f"0 <= {i} - {j} < {w}", f"{j} - {i} < {w}",
        f"max({i} - {w}, 0) <= {j}", f"abs(2 * {j} - {i}) < {w}",
    )  # fmt: skip


def _ends(f: Frame) -> str:
    i, j, n = f.at_query, f.at_key, f.number(0, 12)
    return f.one_of(
        f"{j} < {n}", f"{j} >= {n}", f"{i} < {n}", f"{i} + {j} < 2 * {n} + 5", f"{n} <= {j} < {n} + 9",
        f"{j} < clamp({i}, {n}, {n} + 4)",
    )  # fmt: skip


def _strides(f: Frame) -> str:
    i, j, m = f.at_query, f.at_key, f.number(2, 7)
    return f.one_of(
        f"({i} - {j}) % {m} == 0", f"{j} % {m} < 2", f"({i} + {j}) % {m} != 1", f"{i} % {m} == {j} % {m}"
    )


def _blocks(f: Frame) -> str:
    i, j, m = f.at_query, f.at_key, f.number(2, 20)
    return f.one_of(
        f"{i} // {m} == {j} // {m}", f"{j} // {m} < {i} // {m}", f"({i} // {m} - {j} // {m}) % 2 == 0",
        f"abs({i} // {m} - {j} // {m}) <= 1", f"{j} // {m} * {m} <= {i}", f"({i} - {j}) // {m} == 0",
    )  # fmt: skip


def _bits(f: Frame) -> str:
    i, j = f.at_query, f.at_key
    return f.one_of(
        f"({i} ^ {j}) & 3 != 3", f"({j} >> 2) & 1 == 0", f"({i} | {j}) % 5 != 0", f"{i} & {j} == 0",
        f"({j} << 1) % 5 < 3",
    )  # fmt: skip


def _packed(f: Frame) -> str:
    """One bit a key, eight to a byte."""
    bits = f.tensor("bits", joined(f.query, "_"), "u8", joined(f.query, f"{f.at_key} // 8"))
    return f"({bits} >> ({f.at_key} % 8)) & 1 == 1"


def _documents(f: Frame) -> str:
    own = f.tensor("docq", joined(f.batch, f.query), "i32")
    other = f.tensor("dock", joined(f.batch, f.key), "i32")
    return f"{own} {f.one_of('==', '<=', '!=')} {other}"


def _gathered(f: Frame) -> str:
    """A label found by way of another."""
    kind = f.tensor("kind", joined(f.batch, f.key), "i32")
    label = f.tensor("label", "_", "i32", kind)
    return f.one_of(f"{label} > 1", f"{label} % 2 == {f.at_query} % 2", f"default({label}, 0) == 0")


def _lengths(f: Frame) -> str:
    length = f.tensor("length", f.batch, "i32")
    return f.one_of(
        f"{f.at_key} < {length}", f"{f.at_key} >= {length}", f"{f.at_query} < {length}",
        f"{f.at_key} - {length} <= {f.at_query}",
    )  # fmt: skip


def _starts(f: Frame) -> str:
    start = f.tensor("start", joined(f.batch, f.query), "i32")
    return f.one_of(f"{start} <= {f.at_key}", f"{f.at_key} < {start} + {f.number(1, 9)}")


def _windows(f: Frame) -> str:
    return f"{f.at_query} - {f.at_key} < {f.per_head('window', 'i32')}"


def _table(f: Frame) -> str:
    """Read at the pair, or beside it, which is out of bounds at the border."""
    beside = f.one_of(f.key, f.key + " - 1", f.key + " + 2")
    return f.tensor("allowed", joined(f.query, f.key), "bool", joined(f.query, beside))


def _heads(f: Frame) -> str:
    head = f.own_heads[-1:] or f.query[0]
    return f"{head} % 2 == {f.one_of('0', '1')}"


def _reals(f: Frame) -> str:
    age, limit = f.tensor("age", joined(f.batch, f.key)), f.per_head("limit")
    return f.one_of(f"{age} < {limit}", f"{age} > 0", f"not {age} <= {limit}")


def _ends_aligned(f: Frame) -> str:
    if f.key == "u,v" and f.query == "x,y":
        return f"abs(u - clamp(x, 1, size(u) - 2)) <= 1 and {f.one_of('v <= y', 'abs(v - y) < 2')}"
    if f.key == "u,v" or f.query == "x,y":
        return f"{f.at_query} <= {f.at_key} + 2"
    return f.one_of(
        "j - size(j) <= i - size(i)", "neighbourhood(i, j, 5)", "j < size(j) // 2", "causal_at_end(i, j)"
    )


def _library(f: Frame) -> str:
    i, j = f.at_query, f.at_key
    return f.one_of(
        f"causal({i}, {j})", f"sliding_window({i}, {j}, 7)", f"dilated({i}, {j}, 4, 3)", f"prefix({j}, 4)",
        f"global_tokens({i}, {j}, 2)",
    )  # fmt: skip


def _remainders(f: Frame) -> str:
    """Integers of any size, of both signs and 0, in remainders, quotients and shifts."""
    i, j = f.at_query, f.at_key
    code = f.tensor("code", joined(f.batch, f.key), f.one_of("i32", "i64", "i8", "i64"))
    return f.one_of(
        f"{code} % 3 != 1", f"{code} % -4 > -2", f"{code} // 1000 < {j}", f"{i} % {code} < 2", f"({i} - {j}) % {code} == 0",
        f"({code} >> {j}) & 1 == 0", f"({code} >> 9 * {j}) & 1 == 0", f"({code} & 255) > {i}", f"{code} % ({j} + 1) >= 0", f"{i} // {code} <= {j}",
        f"({j} - {i}) % -3 == 0", f"({i} - {j}) // -4 >= 0", f"({j} << 3) % 7 != 2", f"{code} <= {j} or {j} <= {i}",
    )  # fmt: skip


def _real_remainders(f: Frame) -> str:
    age, limit = f.tensor("age", joined(f.batch, f.key)), f.per_head("limit")
    return f.one_of(
        f"{age} % 0.5 < 0.25", f"{age} // {limit} > 0", f"not {age} % {limit} < 0", f"{age} % -3 > -2"
    )


def _wide(f: Frame) -> str:
    """A window or a bound that may be as large as integers are."""
    i, j, w = f.at_query, f.at_key, f.extreme()
    return f.one_of(
        f"{i} - {j} < {w}", f"abs({i} - {j}) <= {w}", f"{j} < {w}", f"{j} >= {w}", f"{i} - {j} > {w}",
        f"min({w}, 6) > {i} - {j}", f"{j} % {w} <= {i}", f"{i} // {w} == {j} // {w}",
    )  # fmt: skip


def _scores(f: Frame, score: str) -> str:
    return f"{score} {f.one_of('>', '<')} {f.one_of('-0.5', '0', '1.5')}"


_ATOMS: tuple[Callable[[Frame], str], ...] = (
    _order, _band, _ends, _strides, _blocks, _bits, _packed, _documents, _gathered, _lengths, _starts, _windows, _table,
    _heads, _reals, _ends_aligned, _library, _remainders, _real_remainders, _wide,
)  # fmt: skip
