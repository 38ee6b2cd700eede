"""Absent elements: what makes them, what they do to an expression, a reduction, a result."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.reference.meaning import meaning, normal

X = normal(6)
NAN, INF = torch.nan, torch.inf


def of_one(body: str, x: Tensor = X, **sizes: int) -> Tensor:
    """``Y[i] = body`` over ``x[i]``."""
    return meaning(f"input x[i]\nY[i] = {body}\noutput Y[i]", {"x": x}, **sizes)["Y"]


def test_out_of_bounds_is_absent_and_stored_as_zero() -> None:
    assert_close(of_one("x[i + 2]"), torch.cat([X[2:], torch.zeros(2).double()]))
    assert_close(of_one("x[i - 1] + 1"), torch.cat([torch.zeros(1).double(), X[:-1] + 1]))


def test_default_ends_absence() -> None:
    assert_close(of_one("default(x[i - 1], -inf)")[0].item(), -INF)
    assert_close(of_one("default(x[i + 3], default(x[i - 3], 9.0))"), X.roll(3))
    assert_close(of_one("default(default(x[i + 9], x[i - 9]), 7.0)"), torch.full((6,), 7.0).double())


def test_a_conditional_needs_only_the_side_it_takes() -> None:
    assert_close(of_one("x[i] if i < 4 else x[i + 4]"), torch.cat([X[:4], torch.zeros(2).double()]))
    assert_close(of_one("x[i + 4] if i < 2 else x[i]"), torch.cat([X[4:], X[2:]]))
    assert_close(of_one("1.0 if x[i + 3] > -100.0 else 1.0"), torch.tensor([1.0, 1, 1, 0, 0, 0]).double())


TRUTH = {"true": True, "false": False, "absent": None}
# i = 0 .. 2 reads 1, 0 and nothing.
OPERANDS = torch.tensor([1.0, 0.0])


def kleene_and(a: bool | None, b: bool | None) -> bool | None:
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def kleene_or(a: bool | None, b: bool | None) -> bool | None:
    if a is True or b is True:
        return True
    return None if a is None or b is None else False


@pytest.mark.parametrize(("name", "law"), [("and", kleene_and), ("or", kleene_or)])
def test_three_valued_logic(name: str, law) -> None:
    text = f"""
        input x[n]
        index a < 3
        index b < 3
        Y[a,b] = (1.0 if x[a] > 0.5 {name} x[b] > 0.5 else 0.0)
        Z[a,b] = default(Y[a,b], 5.0)
        N[a]   = 1.0  where not (x[a] > 0.5)
        output Z[a,b], N[a]"""
    got = meaning(text, {"x": OPERANDS}, a=3, b=3)
    values = (True, False, None)
    for (a, left), (b, right) in itertools.product(enumerate(values), enumerate(values)):
        expected = {True: 1.0, False: 0.0, None: 5.0}[law(left, right)]
        assert got["Z"][a, b].item() == expected, (left, name, right)
    assert_close(got["N"], torch.tensor([0.0, 1.0, 0.0]).double())


def test_where_keeps_what_is_certainly_true() -> None:
    text = """
        input x[i], a[n]: bool
        Y[i] = x[i]  where i < 2 or a[i - 2]
        output Y[i]"""
    a = torch.tensor([False, True])
    expected = X * torch.tensor([1, 1, 0, 1, 0, 0])
    assert_close(meaning(text, {"x": X, "a": a})["Y"], expected)


def reduced(operator: str, x: Tensor, keep: Tensor, body: str = "x[i,j]") -> tuple[Tensor, Tensor]:
    """A reduction's value, and 1 where it exists."""
    text = f"""
        input x[i, j], keep[i, j]: bool
        Y[i] {operator}= {body}  where keep[i,j]
        E[i] = default(1.0 if Y[i] == Y[i] or not (Y[i] == Y[i]) else 1.0, 0.0)
        output Y[i], E[i]"""
    got = meaning(text, {"x": x, "keep": keep})
    return got["Y"], got["E"]


KEEP = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]).bool()


@pytest.mark.parametrize(
    ("operator", "by_hand"),
    [
        ("+", torch.sum),
        ("*", torch.prod),
        ("max", torch.max),
        ("min", torch.min),
        ("mean", torch.mean),
    ],
)
def test_reductions_skip_absent_elements(operator: str, by_hand) -> None:
    x = normal(3, 4).masked_fill(~KEEP, NAN)
    value, exists = reduced(operator, x, KEEP)
    assert_close(exists, torch.tensor([1.0, 0.0, 1.0]).double())
    assert_close(
        value, torch.stack([by_hand(x[0, KEEP[0]]), torch.zeros(()).double(), by_hand(x[2, KEEP[2]])])
    )


@pytest.mark.parametrize(
    ("operator", "expected"), [("any", [True, False, False]), ("all", [False, False, False])]
)
def test_reductions_of_predicates(operator: str, expected: list[bool]) -> None:
    x = torch.tensor([[-1.0, 1, 1, -1], [1, 1, 1, 1], [1, 1, -1, 1]])
    value, exists = reduced(operator, x, KEEP, "x[i,j] > 0")
    assert value.dtype == torch.bool
    assert value.tolist() == expected
    assert_close(exists, torch.tensor([1.0, 0.0, 1.0]).double())


def test_sums_of_predicates_and_of_indices_are_integers_and_may_index() -> None:
    text = """
        input x[i, j]
        C[i]   += x[i,j] > 0
        F[i] min= j  where x[i,j] > 0
        G[i]    = x[i, F[i]]
        output C[i], F[i], G[i]"""
    x = torch.tensor([[-1.0, 2, 3], [-1, -1, -1], [4, -1, 5]]).double()
    got = meaning(text, {"x": x})
    assert got["C"].dtype == got["F"].dtype == torch.int64
    assert got["C"].tolist() == [2, 0, 2]
    assert got["F"].tolist() == [1, 0, 0]
    assert got["G"].tolist() == [2, 0, 4]


def test_contributions_add_up_and_absent_ones_are_skipped() -> None:
    text = """
        input x[i, j], y[i, n], s[i]
        M[i] max= x[i,j]  where x[i,j] > 0
        M[i] max= y[i,n]  where y[i,n] > 0
        A[i]   += x[i,j]  where x[i,j] > 0
        A[i]   += s[i]
        B[i] mean= x[i,j]  where x[i,j] > 0
        B[i] mean= y[i,n]  where y[i,n] > 0
        output M[i], A[i], B[i]"""
    x = torch.tensor([[1.0, -1, 3], [-1, -1, -1], [-1, -1, -1]]).double()
    y = torch.tensor([[2.0, 6], [5, -1], [-1, -1]]).double()
    s = torch.tensor([10.0, 20, 30]).double()
    got = meaning(text, {"x": x, "y": y, "s": s})
    assert got["M"].tolist() == [6, 5, 0]
    assert got["A"].tolist() == [14, 20, 30]
    assert got["B"].tolist() == [3, 5, 0]


def test_nan_and_infinities_in_the_data_propagate() -> None:
    x = torch.tensor([[1.0, NAN, 2], [INF, 1, 2], [INF, -INF, 2]]).double()
    keep = torch.ones(3, 3, dtype=torch.bool)
    assert_close(reduced("+", x, keep)[0], torch.tensor([NAN, INF, NAN]).double(), equal_nan=True)
    assert_close(reduced("max", x, keep)[0], torch.tensor([NAN, INF, INF]).double(), equal_nan=True)
    assert_close(reduced("min", x, keep)[0], torch.tensor([NAN, 1, -INF]).double(), equal_nan=True)


def test_a_masked_product_never_meets_what_is_masked() -> None:
    """0 * NaN would be NaN: an absent element is not 0."""
    text = """
        input P[i, j], V[j, e]
        O[i,e] += P[i,j] * V[j,e]  where j <= i
        output O[i, e]"""
    p, v = normal(3, 3), normal(3, 2, seed=1)
    v[2] = NAN
    p[0, 1] = INF
    got = meaning(text, {"P": p, "V": v})["O"]
    assert_close(got[:2], (p.tril() @ v.nan_to_num())[:2])
    assert got[2].isnan().all()


@pytest.mark.parametrize("operator", ["+", "max", "mean", "*"])
def test_indices_of_extent_zero(operator: str) -> None:
    text = f"input x[i, j], v[j, e]\nY[i,e] {operator}= x[i,j] * v[j,e]\noutput Y[i, e]"
    assert_close(meaning(text, {"x": normal(3, 0), "v": normal(0, 2)})["Y"], torch.zeros(3, 2).double())
    assert meaning(text, {"x": normal(0, 4), "v": normal(4, 2)})["Y"].shape == (0, 2)


def test_reading_an_empty_table_is_absent() -> None:
    text = "input x[i], t[_]\nY[i] = default(t[i], x[i])\noutput Y[i]"
    assert_close(meaning(text, {"x": X, "t": normal(0)}, _t_0=0)["Y"], X)


def test_a_tensor_over_one_index_may_be_read_at_another() -> None:
    text = """
        input x[i], y[j]
        F[i]   = x[i] * 2
        Y[j]   = y[j] + default(F[j], 100.0)
        D[i,j] = F[i] - F[j]
        output Y[j], D[i, j]"""
    y = normal(8, seed=1)
    got = meaning(text, {"x": X, "y": y})
    assert_close(got["Y"], y + torch.cat([2 * X, torch.full((2,), 100.0).double()]))
    assert_close(got["D"], torch.cat([2 * (X[:, None] - X), torch.zeros(6, 2).double()], 1))


def test_membership_in_a_list() -> None:
    text = "input list[b, n]: i32\nindex c < 5\nY[b,c] = 1.0 where c in list[b,:]\noutput Y[b, c]"
    chosen = torch.tensor([[1, 1, 4], [-1, 0, 7]], dtype=torch.int32)
    expected = torch.tensor([[0, 1, 0, 0, 1], [1, 0, 0, 0, 0]]).double()
    assert_close(meaning(text, {"list": chosen}, c=5)["Y"], expected)
    empty = torch.zeros(2, 0, dtype=torch.int32)
    assert_close(meaning(text, {"list": empty}, c=5)["Y"], torch.zeros(2, 5).double())


@pytest.mark.parametrize(
    ("operator", "expected"),
    [("+", [4, 0, 0, 2]), ("max", [3, 0, 0, 2]), ("*", [3, 0, 0, 2]), ("mean", [2, 0, 0, 2])],
)
def test_keyed_reductions(operator: str, expected: list[float]) -> None:
    """An element whose place is out of bounds goes nowhere; a place that none reaches is absent."""
    text = f"""
        input x[i], place[i]: i32
        index o < 4
        Y[place[i]] {operator}= x[i]
        output Y[o]"""
    x = torch.tensor([1.0, 2, 3, 4, 5])
    place = torch.tensor([0, 3, 0, -1, 4], dtype=torch.int32)
    assert meaning(text, {"x": x, "place": place}, o=4)["Y"].tolist() == expected


def test_a_keyed_maximum_propagates_nan() -> None:
    text = "input x[i]\nindex o < 2\nY[i // 2] max= x[i]\noutput Y[o]"
    got = meaning(text, {"x": torch.tensor([1.0, NAN, 2.0, 3.0])}, o=2)["Y"]
    assert got[0].isnan() and got[1] == 3
