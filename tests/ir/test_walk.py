"""Laws of the traversals."""

from __future__ import annotations

from hypothesis import given, settings

from attn_dsl.ir.expr import Const, Expr, IndexVar, Member, Op, Read, SizeOf
from attn_dsl.ir.walk import children, index_names, substitute, tensors_read, transform, walk, with_children
from tests.ir.expressions import predicates, reals


@settings(max_examples=100, deadline=None)
@given(reals | predicates)
def test_a_node_over_its_own_children_is_itself(expr: Expr) -> None:
    for node in walk(expr):
        assert with_children(node, children(node)) == node


@settings(max_examples=100, deadline=None)
@given(reals)
def test_a_rule_that_changes_nothing_shares_the_tree(expr: Expr) -> None:
    assert transform(expr, lambda node: node) is expr
    assert substitute(expr, {"nowhere": Const(1)}) is expr


@settings(max_examples=100, deadline=None)
@given(reals)
def test_substitution_removes_an_index_and_leaves_its_size(expr: Expr) -> None:
    replaced = substitute(expr, {"j": Op("add", (IndexVar("i"), Const(1)))})
    assert "j" not in index_names(replaced)
    assert set(index_names(replaced)) <= set(index_names(expr)) - {"j"} | {"i"}
    sizes = [node for node in walk(expr) if isinstance(node, SizeOf)]
    assert [node for node in walk(replaced) if isinstance(node, SizeOf)] == sizes


def test_names_come_once_in_reading_order() -> None:
    expr = Op("add", (Read("K", (IndexVar("j"), IndexVar("i"))), Member(IndexVar("j"), "page", (None,))))
    assert index_names(expr) == ("j", "i")
    assert tensors_read(expr) == ("K", "page")
    assert index_names(None) == tensors_read(None) == ()


def test_one_true_and_one_point_zero_are_three_constants() -> None:
    assert len({Const(1), Const(1.0), Const(True)}) == 3
    assert Const(float("inf")) == Const(float("inf"))
