"""The table of reductions: what a row claims is so of torch's reduction of random elements."""

from __future__ import annotations

import pytest
import torch

from attn_dsl.codegen.spelling import COMBINATIONS
from attn_dsl.ir.dtypes import DTYPES, Kind
from attn_dsl.ir.operators import OPERATORS
from attn_dsl.ir.reductions import Reduction, identity
from attn_dsl.reference.operators import apply
from tests.ir.test_tables import files_that_name
from tests.numbers.evaluators import EVALUATORS, evaluate

X = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
OF_NUMBERS = [r for r in Reduction if not r.rule.of_truths and r is not Reduction.MEAN]

pytestmark = pytest.mark.usefixtures("plain_builds")


def reduced(reduce: Reduction, x: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = getattr(x, reduce.rule.torch)(-1)
    return total / x.shape[-1] if reduce is Reduction.MEAN else total


def combined(reduce: Reduction, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return apply(reduce.rule.combine, [x, y], torch.float64)


@pytest.mark.parametrize("reduce", OF_NUMBERS)
def test_partial_results_combine(reduce: Reduction) -> None:
    whole = reduced(reduce, X)
    parts = combined(reduce, reduced(reduce, X[:, :3]), reduced(reduce, X[:, 3:]))
    torch.testing.assert_close(parts, whole)
    neutral = torch.tensor(identity(reduce.rule.identity, "f64"), dtype=torch.float64)
    torch.testing.assert_close(combined(reduce, whole, neutral), whole)


@pytest.mark.parametrize("reduce", [r for r in Reduction if not r.rule.of_truths])
def test_claims(reduce: Reduction) -> None:
    rule = reduce.rule
    linear = torch.allclose(reduced(reduce, 2 * X - Y), 2 * reduced(reduce, X) - reduced(reduce, Y))
    assert linear == rule.is_additive
    assert bool((reduced(reduce, X.exp()) > 0).all()) == rule.keeps_positive
    further = torch.cat([X, X[:, :1] + 1, X[:, :1] - 1], -1)
    if rule.direction:
        assert bool((rule.direction * (reduced(reduce, further) - reduced(reduce, X)) >= 0).all())
    if "ratio" in rule.corrections:
        torch.testing.assert_close(reduced(reduce, 3 * X), 3 * reduced(reduce, X))
    if "difference" in rule.corrections:
        torch.testing.assert_close(reduced(reduce, 3 + X), 3 + reduced(reduce, X))


def test_every_combination_is_spelt_and_an_operator() -> None:
    assert {r.rule.combine for r in Reduction} == COMBINATIONS.keys()
    assert COMBINATIONS.keys() <= OPERATORS.keys()


@pytest.mark.parametrize("dtype", DTYPES)
def test_identities_are_numbers_of_their_type(dtype: str) -> None:
    row = DTYPES[dtype]
    if row.kind is Kind.INTEGER:
        assert (identity("-inf", dtype), identity("inf", dtype)) == row.limits
    if row.kind is Kind.REAL:
        assert identity("-inf", dtype) == -torch.inf


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("dtype", ["f32", "i32", "i64"])
def test_every_reduction_in_every_evaluator(evaluator: str, dtype: str) -> None:
    """Of rows one of which has no element that counts."""
    numbers = [r for r in Reduction if not r.rule.of_truths]
    lines = [f"R{n}[i] {r.value}= X[i,j] where j < n[i]\n" for n, r in enumerate(numbers)]
    lines += [f"T{r.value}[i] {r.value}= X[i,j] > 0 where j < n[i]\n" for r in Reduction if r.rule.of_truths]
    names = [line.split("[")[0] for line in lines]
    outputs = ", ".join(f"default_{n}[i]" for n in names)
    filled = "".join(f"default_{n}[i] = default({n}[i], {'false' if n[0] == 'T' else 5})\n" for n in names)
    text = f"attention all\ninput X[i,j]: {dtype}, n[i]: i32\n{''.join(lines)}{filled}output {outputs}\n"
    x, lengths = (3 * X).round().to(getattr(torch, DTYPES[dtype].torch)), torch.tensor([7, 0, 4])
    found = evaluate(evaluator, text, [x, lengths.to(torch.int32)])
    for result, reduce in zip(found, [*numbers, *(r for r in Reduction if r.rule.of_truths)], strict=True):
        part = x.double() if not reduce.rule.of_truths else x > 0
        absent = 0.0 if reduce.rule.of_truths else 5.0
        wanted = [reduced(reduce, part[i, :n]).double() if n else torch.tensor(absent).double()
                  for i, n in enumerate(lengths.tolist())]  # fmt: skip
        torch.testing.assert_close(result.double(), torch.stack(wanted), msg=lambda m, r=reduce: f"{r}: {m}")


def test_only_the_table_and_the_spellings_know_how_the_targets_reduce() -> None:
    assert files_that_name("amin") == {"attn_dsl/ir/reductions.py"}
