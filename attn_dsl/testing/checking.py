"""``check``: a property test of an attention against what its file means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as with_seed
from torch import Tensor

from attn_dsl.errors import AttnError
from attn_dsl.ir.cascade import Output
from attn_dsl.runtime.sizes import DTYPES, bind
from attn_dsl.testing.rounding import Bounded, bounded_results
from attn_dsl.testing.strategies import Example
from attn_dsl.testing.strategies import examples as argument_examples
from attn_dsl.testing.tolerance import compare

if TYPE_CHECKING:
    from attn_dsl.runtime.attention import Attention

# How many smaller inputs to try once one has failed; an interpreted kernel takes a second each.
_SHRINKS = 40
_SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)


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
) -> None:
    """Compare results with their meaning on generated arguments: sizes, dtypes, memory layouts, values.

    ``target``: instead of the attention's own. ``seed``: None tries the same examples every time. ``longest``,
    ``widest``, ``work``: bounds on lengths, features and the elements of one statement; ``specials``: with NaN
    and infinities. AssertionError with a short report of the smallest failure found; an AttnError as it is.
    """
    if target is not None and target != attention.target:
        attention = type(attention)(attention.specification, attention.params, target, attention.schedule)
    strategy = argument_examples(
        attention.cascade, attention.params, dtypes, longest=longest, widest=widest, work=work,
        specials=specials, device=_device(target),
    )  # fmt: skip
    search = _Search(attention)
    run = given(strategy)(search.try_one)
    run = settings(
        max_examples=examples, deadline=None, database=None, derandomize=seed is None, print_blob=False,
        verbosity=Verbosity.quiet, report_multiple_bugs=False, suppress_health_check=_SLOW,
        phases=(Phase.generate, Phase.shrink),
    )(run)  # fmt: skip
    search.outcome(run if seed is None else with_seed(seed)(run))


def _device(target: str | None) -> str:
    wanted = target != "interpreter" and torch.cuda.is_available()
    return "cuda" if wanted else "cpu"


class _Search:
    """Tries examples; keeps the failure with the fewest elements, and stops shrinking when that takes long."""

    def __init__(self, attention: Attention) -> None:
        self.attention = attention
        self.failure = ""
        self.elements = 0
        self.error: AttnError | None = None
        self.shrinks = 0

    def try_one(self, example: Example) -> None:
        """One example; AssertionError where it fails."""
        if self.error is not None or self.shrinks >= _SHRINKS:
            return
        self.shrinks += bool(self.failure)
        try:
            report = failure(self.attention, example)
        except AttnError as error:
            self.error = error
            raise
        if report:
            elements = sum(a.numel() for a in example.arguments.values())
            if not self.failure or elements <= self.elements:
                self.failure, self.elements = report, elements
            raise AssertionError

    def outcome(self, run: Any) -> None:
        """Run all, and raise what was found."""
        try:
            run()
        except Exception:  # hypothesis's own account of it, or that of a search cut short
            if self.error is None and not self.failure:
                raise
        if self.error is not None:
            raise self.error
        if self.failure:
            raise AssertionError(self.failure)


def failure(attention: Attention, example: Example) -> str:
    """What is wrong with an attention's results on an example; empty where nothing is."""
    arguments, cascade = example.arguments, attention.cascade
    with torch.no_grad():
        sizes = bind(cascade, attention.params, (), arguments).sizes
        expected = bounded_results(cascade, attention.params, arguments, sizes)
        try:
            results = attention(**arguments)
        except AttnError:
            raise
        except Exception as error:  # noqa: BLE001  (a generated kernel may fail in any way)
            return f"{cascade.name} raised {type(error).__name__}: {error}\n{example}"
    results = results if isinstance(results, tuple) else (results,)
    for output, result in zip(cascade.outputs, results, strict=True):
        report = _compare(output, result, expected[output.name], arguments)
        if report:
            return f"{cascade.name}: {report}\n{example}"
    return ""


def _compare(output: Output, result: Tensor, expected: Bounded, arguments: dict[str, Tensor]) -> str:
    dtype = _result_dtype(output, expected.value, arguments)
    if result.dtype != dtype:
        return f"{output.name} is {result.dtype}, which should be {dtype}"
    if result.shape != expected.value.shape:
        return f"{output.name} has shape {tuple(result.shape)}, which should be {tuple(expected.value.shape)}"
    comparison = compare(result, expected)
    return f"{output.name}: {comparison}" if comparison.wrong else ""


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
