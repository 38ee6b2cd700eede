"""``check``: a property test of an attention against what its file means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attn_dsl.errors import AttnError, Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Output
from attn_dsl.runtime.sizes import DTYPES, bind
from attn_dsl.testing.choices import Choices, replay, simpler, spread
from attn_dsl.testing.rounding import Bounded, bounded_results
from attn_dsl.testing.strategies import Example, Limits, make_example
from attn_dsl.testing.tolerance import compare

if TYPE_CHECKING:
    from attn_dsl.runtime.attention import Attention

# How many simpler inputs to try once one has failed; an interpreted kernel takes a second each.
_SIMPLER = 40
_GRADIENTS_EVERY = 8


def check(
    attention: Attention,
    examples: int = 50,
    target: str | None = None,
    dtypes: Sequence[str] = ("f32", "bf16", "f16"),
    seed: int | None = None,
    *,
    longest: int = 130,
    widest: int = 192,
    work: int = 1 << 21,
    specials: bool = False,
    gradients: bool = True,
) -> tuple[Diagnostic, ...]:
    """Compare results and gradients with their meaning on generated arguments: sizes, dtypes, memory layouts,
    values.

    ``target``: instead of the attention's own. ``seed``: None tries the same examples every time.
    ``longest``, ``widest``, ``work``: bounds on lengths, features and the elements of one statement;
    ``specials``: with NaN and infinities, whose gradients are not looked at. Gradients are those of autograd
    through the reference, on every eighth example. What is told of a mechanism without gradients by kernels
    is returned: that is no failure. AssertionError with a short report of the simplest failure found; an
    AttnError as it is.
    """
    if target is not None and target != attention.target:
        attention = type(attention)(attention.specification, attention.params, target, attention.schedule)
    limits = Limits(tuple(dtypes), longest, widest, work, specials, _device(target))
    without: tuple[Diagnostic, ...] = ()
    for k in range(examples):
        choices = spread(seed or 0, k)
        _require(attention, choices, limits, judge)
        if not gradients or specials or without or k % _GRADIENTS_EVERY:
            continue
        try:
            _require(attention, spread(seed or 0, k), limits, _judge_gradients)
        except NotLoweredError as error:
            without = error.diagnostics
    return without


def _judge_gradients(attention: Attention, example: Example) -> Verdict:
    from attn_dsl.testing.gradients import judge_gradients

    return judge_gradients(attention, example)


def _require(attention: Attention, choices: Choices, limits: Limits, by: Judge) -> None:
    report = _try(attention, choices, limits, by)
    if report:
        raise AssertionError(_simplest(attention, choices.record, report, limits, by))


def _device(target: str | None) -> str:
    return "cuda" if target != "interpreter" and torch.cuda.is_available() else "cpu"


def _try(attention: Attention, choices: Choices, limits: Limits, by: Judge) -> str:
    return failure(attention, make_example(attention.cascade, attention.params, choices, limits), by)


def _simplest(attention: Attention, record: list[int], report: str, limits: Limits, by: Judge) -> str:
    """The report of the simplest failing example found near one that fails."""
    tries, progress = 0, True
    while progress and tries < _SIMPLER:
        progress = False
        for candidate in simpler(record):
            tries += 1
            choices = replay(candidate)
            found = _try(attention, choices, limits, by)
            if found:
                record, report, progress = choices.record, found, True
                break
            if tries >= _SIMPLER:
                break
    return report


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with the results of a call, empty where nothing is; how many elements they have, and how
    many of those have no finite bound."""

    report: str
    elements: int = 0
    unjudged: int = 0


Judge = Callable[["Attention", Example], Verdict]


def failure(attention: Attention, example: Example, by: Judge | None = None) -> str:
    """What is wrong with an attention's results on an example, or with what is judged ``by`` another; empty
    where nothing is."""
    report = (by or judge)(attention, example).report
    return f"{attention.cascade.name}: {report}\n{example}" if report else ""


def judge(attention: Attention, example: Example) -> Verdict:
    """Compare an attention's results on an example with their meaning."""
    arguments, cascade = example.arguments, attention.cascade
    with torch.no_grad():
        sizes = bind(cascade, attention.params, (), arguments).sizes
        expected = bounded_results(cascade, attention.params, arguments, sizes)
        try:
            results = attention(**arguments)
        except AttnError:
            raise
        except Exception as error:  # noqa: BLE001  (a generated kernel may fail in any way)
            return Verdict(f"raised {type(error).__name__}: {error}")
    results = results if isinstance(results, tuple) else (results,)
    elements = unjudged = 0
    for output, result in zip(cascade.outputs, results, strict=True):
        verdict = _compare(output, result, expected[output.name], arguments)
        if verdict.report:
            return verdict
        elements, unjudged = elements + verdict.elements, unjudged + verdict.unjudged
    return Verdict("", elements, unjudged)


def _compare(output: Output, result: Tensor, expected: Bounded, arguments: dict[str, Tensor]) -> Verdict:
    dtype = _result_dtype(output, expected.value, arguments)
    if result.dtype != dtype:
        return Verdict(f"{output.name} is {result.dtype}, which should be {dtype}")
    if result.shape != expected.value.shape:
        shapes = f"{tuple(result.shape)}, which should be {tuple(expected.value.shape)}"
        return Verdict(f"{output.name} has shape {shapes}")
    comparison = compare(result, expected)
    report = f"{output.name}: {comparison}" if comparison.wrong else ""
    return Verdict(report, comparison.elements, comparison.unjudged)


def _result_dtype(output: Output, value: Tensor, arguments: dict[str, Tensor]) -> torch.dtype:
    """That of the declaration, or the floating inputs' joint one."""
    if output.dtype is not None:
        return DTYPES[output.dtype]
    if not value.is_floating_point():
        return value.dtype
    real = [a.dtype for a in arguments.values() if a.dtype.is_floating_point]
    dtype = real[0] if real else torch.float32
    for other in real[1:]:
        dtype = torch.promote_types(dtype, other)
    return dtype
