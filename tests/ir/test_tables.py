"""The tables of what the language has: every stage knows every row, and nobody else names what a row is
about."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from attn_dsl.account.values import operate
from attn_dsl.codegen.spelling import is_spelt
from attn_dsl.ir.operators import FUNCTIONS, OPERATORS, Positive
from attn_dsl.reference.operators import apply
from tests.numbers.evaluators import evaluate, pointwise

ROOT = Path(__file__).parents[2]
OF_ONE_REAL = {name: o for name, o in OPERATORS.items() if o.sample is not None}
SAMPLES = {f"Y_{name}": str(o.sample).replace("{x}", "{a}") for name, o in OF_ONE_REAL.items()}
VALUES = torch.linspace(-6, 6, 41, dtype=torch.float64)

pytestmark = pytest.mark.usefixtures("plain_builds")


def files_that_name(word: str) -> set[str]:
    """The sources of the compiler in which a word stands, comments and texts of the language aside."""
    found: set[str] = set()
    for folder in ("attn_dsl", "codegen", "templates"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix not in (".py", ".h", ".j2") or "codegen" in path.relative_to(ROOT).parts[1:]:
                continue
            named = path.suffix == ".py" and re.search(rf'"_?{word}"', path.read_text())
            if named or path.suffix != ".py" and re.search(rf"\b{word}_?\(", path.read_text()):
                found.add(str(path.relative_to(ROOT)))
    return found


def test_every_function_of_one_number_has_a_sample() -> None:
    others = {"min", "max", "clamp", "present", "uniform"}
    assert OF_ONE_REAL.keys() == FUNCTIONS - others
    assert all(name in str(o.sample) and "{x}" in str(o.sample) for name, o in OF_ONE_REAL.items())


def test_the_targets_have_a_word_or_a_formula() -> None:
    for name in FUNCTIONS - {"present"}:
        assert is_spelt(name) or OPERATORS[name].formula is not None, name


@pytest.mark.parametrize("evaluator", ["cpu", "interpreter"])
def test_kernels_and_reference_evaluate_every_function(evaluator: str) -> None:
    text = pointwise(SAMPLES, ["f32"], "f32")
    x = VALUES.float()
    for name, found, right in zip(
        SAMPLES, evaluate(evaluator, text, [x]), evaluate("reference", text, [x]), strict=True
    ):
        torch.testing.assert_close(
            found.double(), right, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_slopes_are_those_of_torch() -> None:
    text = pointwise(SAMPLES, ["f64"], "f64")

    def gradients(evaluator: str) -> list[torch.Tensor]:
        x = VALUES.clone().requires_grad_()
        outputs = evaluate(evaluator, text, [x])
        return [torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for y in outputs]

    for name, mine, right in zip(SAMPLES, gradients("cpu"), gradients("reference"), strict=True):
        torch.testing.assert_close(mine, right, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("name", sorted(OF_ONE_REAL))
def test_other_arithmetics_agree_with_the_reference(name: str) -> None:
    x = VALUES[VALUES > 0]
    right = apply(name, [x], torch.float64)
    np.testing.assert_allclose(operate(name, [x.numpy()]), right.numpy(), rtol=1e-12)
    formula = OPERATORS[name].formula
    if formula is not None:
        by_formula = OPERATORS[name].by_formula([x.numpy()], operate, np.asarray)
        np.testing.assert_allclose(by_formula, right.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", sorted(OF_ONE_REAL))
def test_what_a_row_claims_of_its_values(name: str) -> None:
    claimed = OPERATORS[name]
    everywhere = apply(name, [torch.linspace(-30, 30, 601, dtype=torch.float64)], torch.float64)
    above = apply(name, [torch.linspace(0.01, 30, 601, dtype=torch.float64)], torch.float64)
    match claimed.positive:
        case Positive.ALWAYS:
            assert bool((everywhere > 0).all())
        case Positive.ALL:
            assert bool((above > 0).all())
        case _:
            assert not bool((above > 0).all()), "the row may say more"
    far = torch.tensor([1e4, -1e4, 1e300, -1e300, 0.0], dtype=torch.float64)
    if claimed.total:
        assert bool(apply(name, [far], torch.float64).isfinite().all())


def test_only_the_row_and_the_spellings_name_a_function() -> None:
    spellings = {"codegen/spelling.py", "codegen/targets/triton/functions.py", "templates/cpu/functions.h"}
    assert files_that_name("erf") == {"attn_dsl/ir/operators.py", "attn_dsl/ir/slopes.py"} | {
        "codegen/spelling.py", "templates/cpu/functions.h",
    }  # fmt: skip
    assert files_that_name("tanh") == {"attn_dsl/ir/operators.py"} | spellings
    assert files_that_name("gelu") == {"attn_dsl/ir/operators.py"} | spellings - {
        "codegen/targets/triton/functions.py"
    }


ADDED = """
import torch
from attn_dsl.ir import operators
from attn_dsl.ir.operators import Cost, Positive
from attn_dsl.ir.slopes import ONE, add, call, div, mul

row = operators.unary(
    "softsign", slope=lambda x, y: div(ONE, mul(add(ONE, call("abs", x)), add(ONE, call("abs", x)))),
    cost=Cost.CALL, positive=Positive.ALL, total=True, sample="softsign({x})",
    formula=lambda x: div(x, add(ONE, call("abs", x))),
)
operators.OPERATORS[row.name] = row
operators.FUNCTIONS |= {row.name}

import attn_dsl

TEXT = '''attention added
input X[i]: f32, V[j]
P[i,j] = exp(softsign(X[i] * V[j]))
O[i] += P[i,j] * V[j]
T[i] = softsign(3) * X[i]
output O[i], T[i]
'''
x, v = torch.linspace(-3, 3, 7), torch.linspace(-2, 2, 5)
for target in ("cpu", "interpreter"):
    attention = attn_dsl.compile(TEXT, target=target)
    for run in (attention, attention.reference):
        x = x.detach().requires_grad_()
        o, t = run(x, v)
        right = (torch.exp(torch.nn.functional.softsign(x[:, None] * v)) * v).sum(-1)
        torch.testing.assert_close(o.float(), right)
        torch.testing.assert_close(t.float(), 0.75 * x)
        torch.testing.assert_close(torch.autograd.grad(o.sum(), x), torch.autograd.grad(right.sum(), x))
        assert str(attention.analyze(i=64, j=64))
"""


def test_a_row_alone_is_a_function() -> None:
    """Parsed, differentiated, evaluated, compiled for both targets, and costed: the row is all there is of
    it."""
    done = subprocess.run([sys.executable, "-c", ADDED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_function_that_nobody_can_evaluate_is_refused() -> None:
    unknown = OPERATORS["erf"]
    with pytest.raises(AssertionError, match="'erf' has neither a word of this arithmetic nor a formula"):
        unknown.by_formula([1.0], lambda name, args: math.nan, float)


def test_the_documentation_lists_the_functions() -> None:
    text = (ROOT / "docs" / "language.md").read_text()
    listed = {word for line in re.findall(r"`([^`]+)`", text) for word in re.findall(r"[a-z0-9]+", line)}
    assert listed >= FUNCTIONS
