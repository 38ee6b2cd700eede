"""Random predicates over a row index i, a stream index j and a second stream u, as text."""

from __future__ import annotations

from hypothesis import strategies as st

DECLARATIONS = """attention t
param w: int = 3
param a: float = 0.5
input doc[i]: i32, key[j]: i32, open[j]: bool, other[u]: i32
"""
SIZES = {"i": 5, "j": 6, "u": 3}

_leaves = st.sampled_from(
    ["i", "j", "u", "w", "doc[i]", "key[j]", "size(j)", *map(str, range(5))],
)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-"), inner),
        st.builds("({} * {})".format, st.integers(-3, 3), inner),
        st.builds("({} * w)".format, inner),
        st.builds(
            "({} {} {})".format, inner, st.sampled_from(["//", "%"]), st.sampled_from(["w", "1", "2", "4"])
        ),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
        st.builds("abs({})".format, inner),
        st.builds("clamp({}, {}, {})".format, inner, st.integers(0, 2), inner),
        st.builds("({} & {})".format, inner, st.integers(0, 6)),
        st.builds("({} if {} < {} else {})".format, inner, inner, inner, inner),
    )


integers = st.recursive(_leaves, _grow, max_leaves=4)
_reals = st.builds("({} * a)".format, integers)
_compare = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
_atoms = st.one_of(
    st.builds("{} {} {}".format, integers, _compare, integers),
    st.builds("{} {} {}".format, integers, _compare, integers),
    st.builds("0 <= {} - {} < {}".format, integers, integers, integers),
    st.builds("{} {} {}".format, integers, _compare, _reals),
    st.just("open[j]"),
)


def _combine(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("(not ({}))".format, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
    )


predicates = st.recursive(_atoms, _combine, max_leaves=4)
