"""The reference's reading of each example equals a dense formulation written by hand from the paper."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import pytest
import torch
from torch import Tensor

from attn_dsl.language.load import load_file
from attn_dsl.reference import evaluate
from tests.examples.cases import CASES, EXAMPLES, example_names

DenseFormula = Callable[..., "Tensor | tuple[Tensor, ...]"]


def dense_formula(name: str) -> DenseFormula:
    """``masks/documents`` is ``documents`` of ``tests.examples.dense.masks``."""
    family, file = name.split("/")
    return getattr(import_module(f"tests.examples.dense.{family}"), file)


def test_every_example_has_a_case() -> None:
    assert example_names() == sorted(CASES)


@pytest.mark.parametrize("name", example_names())
def test_loads_without_warning(name: str) -> None:
    specification = load_file(EXAMPLES / f"{name}.attn")
    assert [w.render(specification.sources) for w in specification.warnings] == []


@pytest.mark.parametrize("name", example_names())
def test_means_what_the_paper_says(name: str) -> None:
    cascade, case = load_file(EXAMPLES / f"{name}.attn").cascade, CASES[name]
    arguments = case.arguments(cascade)
    params = {p.name: p.default for p in cascade.params} | dict(case.params)
    sizes = case.all_sizes(cascade)
    results = evaluate(cascade, params, arguments, sizes)
    expected = dense_formula(name)(**arguments, **params)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for output, value in zip(cascade.outputs, expected, strict=True):
        torch.testing.assert_close(results[output.name], value, rtol=1e-9, atol=1e-10)
