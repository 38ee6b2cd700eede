"""Random queries, keys and values: plain inputs, or what a prologue makes of them."""

from __future__ import annotations

from collections.abc import Callable

from attn_dsl.testing.mechanisms.frame import Frame, joined
from attn_dsl.testing.mechanisms.taps import convolved, moving
from attn_dsl.testing.mechanisms.terms import unary


def query(frame: Frame, feature: str = "d") -> str:
    """A query's feature, at its own indices."""
    return _operand(frame, "Q", frame.row, frame.query, feature)


def key(frame: Frame, feature: str = "d") -> str:
    """A key's feature."""
    return _operand(frame, "K", frame.key_row, frame.key, feature)


def value(frame: Frame, feature: str = "e") -> str:
    """A value's feature."""
    return _operand(frame, "V", frame.key_row, frame.key, feature)


def along(f: Frame, feature: str) -> str:
    """A feature of the vector for a distance, clipped, in buckets or as it is, or for a sum of positions."""
    i, j = f.at_query, f.at_key
    place = f.one_of(
        f"clamp({j} - {i}, -2, 3) + 2", f"{i} - {j}", f"{i} - {j} + 6", f"abs({i} - {j}) // 2", f"{i} + {j}"
    )
    return f.tensor("along", joined(f.own_heads, "_", feature), read=joined(f.own_heads, place, feature))


def _operand(f: Frame, base: str, place: str, own: str, feature: str) -> str:
    if not f.choices.once_in(3):
        return f.tensor(base, joined(place, feature))
    return f.choices.among(_PROLOGUES)(f, base, place, own, feature)


Prologue = Callable[[Frame, str, str, str, str], str]


def _pointwise(f: Frame, base: str, place: str, own: str, feature: str) -> str:
    return unary(f.choices, f.tensor(base, joined(place, feature)))


def _gated(f: Frame, base: str, place: str, own: str, feature: str) -> str:
    return f"{f.tensor(base, joined(place, feature))} * sigmoid({f.tensor('gate' + base, place)})"


def _integers(f: Frame, base: str, place: str, own: str, feature: str) -> str:
    """Eight bits and a scale."""
    return f"{f.tensor(base + 'q', joined(place, feature), 'i8')} * {f.tensor('scale' + base, place)} * 0.02"


def _normalised(f: Frame, base: str, place: str, own: str, feature: str) -> str:
    x = f.tensor(base, joined(place, feature))
    norm = f.define(
        f"norm{base}", place, f.one_of("mean=", "+=", "max="), f.one_of(f"{x} * {x}", f"abs({x})")
    )
    scaled = f"{x} {f.one_of(f'* rsqrt({norm} + 0.1)', f'/ ({norm} + 0.1)')}"
    return f.define(f"{base}n", joined(place, feature), "=", scaled) if f.choices.once_in(2) else scaled


def _reversed(f: Frame, base: str, place: str, own: str, feature: str) -> str:
    """Features turned by an angle that grows with the position."""
    last = own.split(",")[-1]
    x = f.tensor(base, joined(place, feature))
    other = f.tensor(base, joined(place, feature), read=joined(place, f"size({feature}) - 1 - {feature}"))
    return f"({x} * cos(0.1 * {last}) + {other} * sin(0.1 * {last}))"


def _shifted(f: Frame, base: str, place: str, own: str, feature: str) -> str:
    """Mixed with the token before."""
    x = f.tensor(base, joined(place, feature))
    before = f.tensor(base, joined(place, feature), read=joined(f"{place} - 1", feature))
    return f.one_of(f"({x} + default({before}, 0))", before, f"default({before}, {x})", f"({x} - {before})")


def _gathered(f: Frame, base: str, place: str, own: str, feature: str) -> str:
    """Found by way of a permutation."""
    if "," in own:
        return f.tensor(base, joined(place, feature))
    order = f.tensor(f"order{base}", joined(f.batch, own), "i32")
    lead = place.removesuffix(own).rstrip(",")
    return f.tensor(base, joined(lead, own, feature), read=joined(lead, order, feature))


def _paged(f: Frame, base: str, place: str, own: str, feature: str) -> str:
    """In pages of four tokens, which a table lists; beside it a gate, which says how long the sequence is."""
    if "," in own:
        return f.tensor(base, joined(place, feature))
    page = f.tensor("page", joined(f.batch, "_"), "i32", joined(f.batch, f"{own} // 4"))
    lead = place.removesuffix(own).rstrip(",").removeprefix("b").lstrip(",")
    pool = f.tensor(
        f"pool{base}", joined("_", "4", lead, feature), read=joined(page, f"{own} % 4", lead, feature)
    )
    return f"{pool} * {f.tensor('gate' + base, place)}"


_PROLOGUES: tuple[Prologue, ...] = (
    _pointwise, _gated, _integers, _normalised, _reversed, _shifted, _gathered, _paged, convolved,
    convolved, moving,
)  # fmt: skip
