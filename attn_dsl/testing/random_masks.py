"""Random predicates over a query and a key."""

from __future__ import annotations

from collections.abc import Callable

from attn_dsl.testing.random_names import Frame, per_head


def predicate(frame: Frame, depth: int = 2) -> str:
    """Comparisons, arithmetic, tables and labels, joined by and, or, not."""
    shape = frame.choices.number(0, 5) if depth else 0
    if shape <= 2:
        return frame.choices.among(_ATOMS)(frame)
    if shape == 3:
        return f"not ({predicate(frame, depth - 1)})"
    joint = " and " if shape == 4 else " or "
    parts = [predicate(frame, depth - 1) for _ in range(frame.choices.number(2, 3))]
    return joint.join(f"({part})" for part in parts)


def _order(f: Frame) -> str:
    i, j = f.at_query, f.at_key
    return f.one_of(f"{j} <= {i}", f"{j} < {i}", f"{j} >= {i}", f"{i} != {j}", f"{j} * 2 <= {i} * 3")


def _band(f: Frame) -> str:
    i, j, w = f.at_query, f.at_key, f.number(1, 20)
    return f.one_of(f"{i} - {j} < {w}", f"abs({i} - {j}) <= {w}", f"0 <= {i} - {j} < {w}", f"{j} - {i} < {w}")


def _ends(f: Frame) -> str:
    i, j, n = f.at_query, f.at_key, f.number(0, 12)
    return f.one_of(
        f"{j} < {n}", f"{j} >= {n}", f"{i} < {n}", f"{i} + {j} < 2 * {n} + 5", f"{n} <= {j} < {n} + 9"
    )


def _strides(f: Frame) -> str:
    i, j, m = f.at_query, f.at_key, f.number(2, 7)
    return f.one_of(
        f"({i} - {j}) % {m} == 0", f"{j} % {m} < 2", f"({i} + {j}) % {m} != 1", f"{i} % {m} == {j} % {m}"
    )


def _blocks(f: Frame) -> str:
    i, j, m = f.at_query, f.at_key, f.number(2, 20)
    return f.one_of(
        f"{i} // {m} == {j} // {m}",
        f"{j} // {m} < {i} // {m}",
        f"({i} // {m} - {j} // {m}) % 2 == 0",
        f"abs({i} // {m} - {j} // {m}) <= 1",
        f"{j} // {m} * {m} <= {i}",
    )


def _bits(f: Frame) -> str:
    i, j = f.at_query, f.at_key
    return f.one_of(
        f"({i} ^ {j}) & 3 != 3", f"({j} >> 2) & 1 == 0", f"({i} | {j}) % 5 != 0", f"{i} & {j} == 0"
    )


def _documents(f: Frame) -> str:
    own, other = (
        f.input("docq", f"b, {_declared(f.query)}", "i32"),
        f.input("dock", f"b, {_declared(f.key)}", "i32"),
    )
    return f"{own}[b,{f.query}] {f.one_of('==', '<=', '!=')} {other}[b,{f.key}]"


def _lengths(f: Frame) -> str:
    length = f.input("length", "b", "i32")
    return f.one_of(f"{f.at_key} < {length}[b]", f"{f.at_key} >= {length}[b]", f"{f.at_query} < {length}[b]")


def _starts(f: Frame) -> str:
    start = f.input("start", f"b, {_declared(f.query)}", "i32")
    return f.one_of(
        f"{start}[b,{f.query}] <= {f.at_key}", f"{f.at_key} < {start}[b,{f.query}] + {f.number(1, 9)}"
    )


def _windows(f: Frame) -> str:
    window = f.input("window", per_head(f), "i32")
    return f"{f.at_query} - {f.at_key} < {window}[{f.heads}]"


def _table(f: Frame) -> str:
    """Read at the pair, or beside it, which is out of bounds at the border."""
    table = f.input("allowed", f"{_declared(f.query)}, {_declared(f.key)}", "bool")
    if f.key == "u,v":
        return f"{table}[x, y, u, {f.one_of('v', 'v - 1')}]"
    return f"{table}[i, {f.one_of('j', 'j - 1', 'j + 2')}]"


def _heads(f: Frame) -> str:
    return f"{f.heads[0]} % 2 == {f.one_of('0', '1')}"


def _scores(f: Frame) -> str:
    return f"S[{f.pair}] {f.one_of('>', '<')} {f.one_of('-0.5', '0', '1.5')}"


def _ends_aligned(f: Frame) -> str:
    if f.key == "u,v":
        return f"abs(u - clamp(x, 1, size(u) - 2)) <= 1 and {f.one_of('v <= y', 'abs(v - y) < 2')}"
    return "j - size(j) <= i - size(i)"


def _declared(indices: str) -> str:
    """The indices of a position as an input declares them."""
    return {"x,y": "(x y)", "u,v": "(u v)"}.get(indices, indices)


_ATOMS: tuple[Callable[[Frame], str], ...] = (
    _order, _band, _ends, _strides, _blocks, _bits, _documents, _lengths, _starts, _windows, _table, _heads, _scores,
    _ends_aligned,
)  # fmt: skip
