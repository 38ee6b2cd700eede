"""Whether a row has any element, said without looking for one: against every element, by plain Python."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_dsl.analysis.elimination import Consequences, some
from attn_dsl.analysis.logic import PRESENT, conjunction, conjuncts
from attn_dsl.analysis.presence import guard, presence
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Expr, IndexVar, Read
from attn_dsl.ir.printer import print_expr
from attn_dsl.ir.walk import index_names, tensors_read
from attn_dsl.language.load import load_text
from tests.analysis.elements import World

HEAD = """attention t
param w: int
param v: int
input first[i]: i32, key[j]: i32, A[i,j]: i32, U[u]: i32
"""
EXTENTS = (0, 1, 2, 5)


def _cascade(predicate: str) -> Cascade:
    return load_text(f"{HEAD}Y[i] max= A[i,j] + U[u] where {predicate}\noutput Y[i]: i32\n").cascade


def _guard(cascade: Cascade) -> Expr:
    return guard(cascade.definitions("Y")[0], cascade)


def _worlds(w: int, v: int, first: list[int]) -> list[World]:
    import torch

    tensors = {"first": torch.tensor(first), "key": torch.tensor([1, 0, 3, 2, 2])}
    return [
        World({"w": w, "v": v}, {"i": 4, "j": j, "u": u}, tensors) for j, u in product(EXTENTS, (0, 1, 3))
    ]


def _assert_same_rows(predicate: str, worlds: list[World]) -> bool:
    """Whether j and u were eliminated; if so, rows exist just where one of their elements does."""
    cascade = _cascade(predicate)
    whole = _guard(cascade)
    found = some(whole, ("j", "u"), cascade)
    if found is None:
        return False
    assert not {"j", "u"} & {*index_names(found)}
    for world in worlds:
        pairs = [*product(range(world.sizes["j"]), range(world.sizes["u"]))]
        for i in range(world.sizes["i"]):
            exists = any(world.element(whole, {"i": i, "j": j, "u": u}) for j, u in pairs)
            assert bool(world.element(found, {"i": i})) == exists, (print_expr(found), world, i)
    return True


_terms = st.sampled_from(
    ["i", "j", "u", "w", "v", "first[i]", "size(j)", "size(u)", "size(i)", "0", "1", "3"]
)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-"), inner),
        st.builds("({} * {})".format, st.integers(-3, 3), inner),
        st.builds("({} // {})".format, inner, st.sampled_from(["1", "2", "3"])),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
        st.builds("abs({})".format, inner),
    )


_integers = st.recursive(_terms, _grow, max_leaves=3)
_atoms = st.builds(
    "{} {} {}".format, _integers, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), _integers
)


def _combine(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("(not ({}))".format, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
    )


_predicates = st.recursive(_atoms, _combine, max_leaves=5)
_numbers = st.integers(-6, 6)


@settings(max_examples=400, deadline=None)
@given(_predicates, _numbers, _numbers, st.lists(_numbers, min_size=4, max_size=4))
def test_rows_exist_where_an_element_does(predicate: str, w: int, v: int, first: list[int]) -> None:
    _assert_same_rows(predicate, _worlds(w, v, first))


@settings(max_examples=300, deadline=None)
@given(_predicates, _predicates, _numbers, _numbers, st.lists(_numbers, min_size=4, max_size=4))
def test_what_follows_is_left_out(one: str, two: str, w: int, v: int, first: list[int]) -> None:
    """Of a guard, of another, and of what says where the rows of either exist: the same elements."""
    cascade = _cascade(one)
    guards = [_guard(cascade), _guard(_cascade(two))]
    rows = [e for g in guards for over in ("j", "u", "ju") if (e := some(g, over, cascade)) is not None]
    whole = conjunction(*rows, *guards)
    left = Consequences(cascade).left_out(whole, ("i", "j", "u"))
    for world in _worlds(w, v, first):
        for i, j, u in product(*(range(world.sizes[n]) for n in "iju")):
            at = {"i": i, "j": j, "u": u}
            assert bool(world.element(left, at)) == bool(world.element(whole, at)), print_expr(left)


@pytest.mark.parametrize(
    ("predicate", "rows"),
    [
        ("j <= i", "0 < size(u) and 0 < size(j)"),
        ("j <= i or j < w", "0 < size(u) and 0 < size(j)"),
        ("0 <= i - j < w", "0 < size(u) and 0 < size(j) and i - size(j) + 2 <= w and 0 < w"),
        ("j // 4 == i // 4", "0 < size(u) and 0 < size(j) and 4 * (i // 4) + 1 <= size(j)"),
        ("abs(i - j) <= u", "0 < size(j) and 0 < size(u) and i + 2 <= size(j) + size(u)"),
        ("j == first[i]", "0 < size(u) and 0 < size(j) and 0 <= first[i] and first[i] <= size(j) - 1"),
        ("j < first[i] and first[i] > 2", "first[i] > 2 and 0 < size(u) and 0 < size(j) and 0 < first[i]"),
        (
            "2 * j == i",
            "0 < size(u) and 0 < size(j) and (i + 1) // 2 <= i // 2 and (i + 1) // 2 <= size(j) - 1",
        ),
        ("j <= i and key[j] == w", None),
        ("j % 2 == i % 2", None),
        ("j != i and j > i", "0 < size(u) and 0 < size(j) and i + 2 <= size(j)"),
        ("i * j < w", None),
        ("j < w and first[j - 1] < 2", None),
    ],
)
def test_conditions_of_rows(predicate: str, rows: str | None) -> None:
    cascade = _cascade(predicate)
    exists = presence(Read("Y", (IndexVar("i"),)), cascade)
    worlds = _worlds(3, 1, [0, -2, 9, 3])
    if rows is None:
        assert tensors_read(exists) == (PRESENT + "Y",)
        return
    assert {print_expr(c) for c in conjuncts(exists)} == {*rows.split(" and ")}
    assert _assert_same_rows(predicate, worlds)


def test_elements_of_a_mask_have_their_row() -> None:
    cascade = _cascade("0 <= i - j < w and (i < v or j < v)")
    whole = _guard(cascade)
    rows = some(whole, ("j", "u"), cascade)
    assert rows is not None
    assert Consequences(cascade).left_out(conjunction(rows, whole), ("i", "j", "u")) == whole
