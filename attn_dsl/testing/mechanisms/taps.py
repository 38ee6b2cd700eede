"""Random taps: what is read at several places beside its own and weighted, summed at once or kept for a later
sum.

index t < 3
Kc[b,j,d]   += WK[t] * K[b,j + 1 - t,d]          summed
Kt[b,j,t,d]  = WK[t] * K[b,j + 1 - t,d]          kept
Z[b,i,j]    += tapsS[t,s] * S[b,i - t,j + 1 - s]     in two dimensions, of scores
"""

from __future__ import annotations

from attn_dsl.testing.mechanisms.frame import Frame, joined


def convolved(f: Frame, base: str, place: str, own: str, feature: str) -> str:
    """A convolution along rows or keys: causal, centred, ahead, in steps; of every feature or among
    features."""
    f.index("t", "3")
    kind = f.choices.number(0, 4)
    if kind == 4:  # among features
        weighted = f"{f.tensor('W' + base, joined('t,m', feature))} * {_tapped(f, base, place, own, 'm')}"
    else:
        weights = f.tensor("W" + base, joined("t", feature if kind == 3 else ""))
        weighted = f"{weights} * {_tapped(f, base, place, own, feature)}"
    if kind == 2:
        return f.define(f"{base}t", joined(place, "t", feature), "=", weighted)
    return f.define(f"{base}c", joined(place, feature), "+=", weighted)


def moving(f: Frame, base: str, place: str, own: str, feature: str) -> str:
    """A mean, or an extremum, over a few neighbours."""
    f.index("t", "3")
    tapped = _tapped(f, base, place, own, feature)
    return f.define(f"{base}w", joined(place, feature), f.one_of("mean=", "mean=", "max=", "min="), tapped)


def of_scores(f: Frame, x: str, s: str) -> str:
    """A convolution of scores that are computed: along rows, along keys, along both."""
    f.index("t", "3")
    name, row, key = s.split("[")[0], f.query.split(","), f.key.split(",")
    kind = f.choices.number(0, 2)
    at_row = [f"{row[0]} {f.one_of('- t', '+ 1 - t')}", *row[1:]] if kind != 1 else row
    tap = "t" if kind == 1 else "s"
    at_key = [f"{key[0]} {f.one_of(f'- {tap}', f'+ {tap} - 1')}", *key[1:]] if kind else key
    if kind == 2:
        f.index("s", "2")
    taps = f.tensor("tapsS", ("t", "t", "t,s")[kind])
    read = f"{name}[{joined(f.lead, *at_row, *at_key)}]"
    convolution = f.define("Z", f.pair, "+=", f"{taps} * {read}")
    return f.one_of(convolution, f"{x} + default({convolution}, 0)", f"{x} + {convolution}")


def _tapped(f: Frame, base: str, place: str, own: str, feature: str) -> str:
    """The operand at a tap's place along its first own index; beyond the ends there is nothing."""
    first, *others = own.split(",")
    lead = place.removesuffix(own).rstrip(",")
    at = f.one_of(
        f"{first} - t", f"{first} + 1 - t", f"{first} + t", f"{first} + t - 2", f"2 * {first} + t",
        f"{first} - 2 * t", f"{first} // 2 + t",
    )  # fmt: skip
    return f.tensor(base, joined(place, feature), read=joined(lead, at, *others, feature))
