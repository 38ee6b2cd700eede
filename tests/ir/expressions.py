"""Random expressions over one fixed set of declarations, as the parser would build them."""

from __future__ import annotations

from hypothesis import strategies as st

from attn_dsl.ir.expr import (
    Cast,
    Const,
    Default,
    Detach,
    Expr,
    IndexVar,
    Member,
    Op,
    ParamRef,
    Read,
    Select,
    SizeOf,
)

DECLARATIONS = """attention random
param n: int = 3
param x: float = 0.5
param p: bool = true
input Q[b, i, d], K[b, j, d], page[b, _]: i32, ok[i, j]: bool, tau
"""

_INDICES = ("b", "i", "j", "d")
_INTEGER_OPERATORS = ("add", "sub", "mul", "floordiv", "mod", "shr", "shl", "bitand", "bitxor", "bitor")
_REAL_OPERATORS = ("add", "sub", "mul", "div", "floordiv", "mod", "pow", "min", "max")
_REAL_FUNCTIONS = ("exp", "sqrt", "tanh", "relu", "neg", "abs", "floor")

_integer_leaves = st.one_of(
    st.integers(0, 10**17).map(Const),
    st.sampled_from(_INDICES).map(IndexVar),
    st.sampled_from(_INDICES).map(SizeOf),
    st.just(ParamRef("n")),
)
_real_leaves = st.one_of(
    st.floats(0, allow_nan=False).map(Const),
    st.just(ParamRef("x")),
    st.just(Read("tau", ())),
    _integer_leaves,
)
_boolean_leaves = st.one_of(st.booleans().map(Const), st.just(ParamRef("p")))


def _binary(names: tuple[str, ...], arguments: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.builds(lambda name, a, b: Op(name, (a, b)), st.sampled_from(names), arguments, arguments)


def _more_integers(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.one_of(
        _binary(_INTEGER_OPERATORS, inner),
        inner.map(lambda a: Op("neg", (a,))),
        st.builds(lambda a, b: Read("page", (a, b)), inner, inner),
        st.builds(Select, _boolean_leaves, inner, inner),
    )


integers: st.SearchStrategy[Expr] = st.recursive(_integer_leaves, _more_integers, max_leaves=5)


def _predicates(numbers: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    leaves = st.one_of(
        _boolean_leaves,
        _binary(("lt", "le", "gt", "ge", "eq", "ne"), numbers),
        st.builds(lambda e, b: Member(e, "page", (b, None)), integers, integers),
        st.builds(lambda a, b: Read("ok", (a, b)), integers, integers),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(_binary(("and", "or"), inner), inner.map(lambda a: Op("not", (a,)))),
        max_leaves=4,
    )


def _more_reals(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.one_of(
        _binary(_REAL_OPERATORS, inner),
        st.builds(lambda name, a: Op(name, (a,)), st.sampled_from(_REAL_FUNCTIONS), inner),
        st.builds(lambda *slots: Read("K", slots), integers, integers, integers),
        st.builds(Select, _binary(("lt", "eq"), inner), inner, inner),
        st.builds(Default, inner, inner),
        st.builds(Cast, st.sampled_from(("f32", "i64")), inner),
        inner.map(Detach),
        st.lists(inner, min_size=1, max_size=5).map(lambda args: Op("uniform", tuple(args))),
    )


reals: st.SearchStrategy[Expr] = st.recursive(_real_leaves, _more_reals, max_leaves=8)
predicates: st.SearchStrategy[Expr] = _predicates(reals)
