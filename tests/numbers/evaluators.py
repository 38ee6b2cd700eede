"""The same text by every evaluator: the reference, the C++ kernels, and Triton's source in its interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

import attn_dsl

EVALUATORS = ("reference", "cpu", "interpreter")


@lru_cache(maxsize=256)
def _compiled(text: str, target: str, params: tuple[tuple[str, Any], ...]) -> Any:
    return attn_dsl.compile(text, target=target, **dict(params))


def evaluate(evaluator: str, text: str, arguments: Sequence[Tensor], **params: Any) -> Tensor:
    """The one output of a text."""
    target = "cpu" if evaluator == "reference" else evaluator
    attention = _compiled(text, target, tuple(params.items()))
    return attention.reference(*arguments) if evaluator == "reference" else attention(*arguments)


def pointwise(expression: str, dtypes: Sequence[str], result: str) -> str:
    """A text that applies an expression of ``a``, ``b`` to the elements of vectors A, B."""
    names = "AB"[: len(dtypes)]
    inputs = ", ".join(f"{n}[i]: {d}" for n, d in zip(names, dtypes, strict=True))
    body = expression.replace("a_", "A[i]").replace("b_", "B[i]")
    return f"attention numbers\ninput {inputs}\nY[i] = {body}\noutput Y[i]: {result}\n"


def same(found: Tensor, right: Tensor, tolerance: float = 0.0) -> bool:
    """Whether values agree, NaN with NaN and infinities with themselves."""
    return torch.allclose(found.double(), right.double(), rtol=tolerance, atol=0.0, equal_nan=True)
