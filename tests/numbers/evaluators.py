"""The same text by every evaluator: the reference, the C++ kernels, and Triton's source in its
interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

import attn_dsl

EVALUATORS = ("reference", "cpu", "interpreter")


@lru_cache(maxsize=256)
def _compiled(text: str, target: str, params: tuple[tuple[str, Any], ...]) -> Any:
    return attn_dsl.compile(text, target=target, **dict(params))


def evaluate(evaluator: str, text: str, arguments: Sequence[Tensor], **params: Any) -> Any:
    """The outputs of a text; the tensor itself where there is one."""
    target = "cpu" if evaluator == "reference" else evaluator
    attention = _compiled(text, target, tuple(params.items()))
    return attention.reference(*arguments) if evaluator == "reference" else attention(*arguments)


def pointwise(expressions: Mapping[str, str], dtypes: Sequence[str], result: str | None) -> str:
    """A text that applies expressions of ``a`` and ``b`` to the elements of vectors, an output each."""
    names = "AB"[: len(dtypes)]
    inputs = ", ".join(f"{n}[i]: {d}" for n, d in zip(names, dtypes, strict=True))
    lines = [f"attention numbers\ninput {inputs}\ndef get_a(i) = A[i]\n"]
    for name, expression in expressions.items():
        body = expression.replace("{a}", "A[i]").replace("{b}", "B[i]")
        lines.append(f"{name}[i] = {body}\n")
    kind = f": {result}" if result else ""
    lines.append("output " + ", ".join(f"{n}[i]{kind}" for n in expressions) + "\n")
    return "".join(lines).replace("def get_a(i) = A[i]\n", "")


def same(found: Tensor, right: Tensor, tolerance: float = 0.0) -> bool:
    """Whether values agree, NaN with NaN and infinities with themselves."""
    return torch.allclose(found.double(), right.double(), rtol=tolerance, atol=0.0, equal_nan=True)
