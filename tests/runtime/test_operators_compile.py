"""Attentions inside torch.compile: whole graphs, the values of eager calls, and nothing compiled for a new
length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor

import attn_dsl
from attn_dsl.runtime import cache
from tests.runtime.called import assert_agree, example, gradients

COUNTED = """attention counted
input Q[i, d], K[j, d], n: i64
index c < n
S[i,j] += Q[i,d] * K[j,d]
O[c,i] += S[i,j] where j <= c
output O[c, i]
"""
TEMPERED = """attention tempered
input Q[i, d], K[j, d], tau
S[i,j] += Q[i,d] * K[j,d]
m[i] max= tau * S[i,j]
output m[i]
"""
REPEATED = """attention repeated
input x[n], y[(g r)]
index g < 3
index k < max(size(n) - 2, size(r)) // 2
O[g,k] += x[n] * y[g,r] where n < k
output O[k, g]
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Nothing compiled before, and an error where anything is compiled twice."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield


def compiled(call: Callable[..., Any], backend: str = "aot_eager") -> Callable[..., Any]:
    return torch.compile(call, fullgraph=True, backend=backend)


# One tensor's axes are dynamic where they are of the length.
Shapes = Callable[[int], list[Tensor]]


# Features as in the examples' cases, so that the programs are those of other tests.
def randn(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def grouped(n: int) -> list[Tensor]:
    return [randn(2, 6, n, 6), randn(2, 2, n, 6), randn(2, 2, n, 5)]


def plain(n: int) -> list[Tensor]:
    return [*randn(2, 2, 3, n, 6), randn(2, 3, n, 5)]


def differential(n: int) -> list[Tensor]:
    return [*randn(4, 2, 3, n, 6), randn(2, 3, n, 5), randn(3)]


def relative(n: int) -> list[Tensor]:
    return [*randn(2, 2, 3, n, 6), randn(2, 3, n, 5), randn(3, n, 6)]


def documents(n: int) -> list[Tensor]:
    return [*grouped(n), (torch.arange(n) // 5).to(torch.int32).expand(2, n).contiguous()]


def dynamic(arguments: list[Tensor], n: int) -> list[Tensor]:
    for argument in arguments:
        for axis in (a for a, size in enumerate(argument.shape) if size == n):
            torch._dynamo.mark_dynamic(argument, axis)
    return arguments


@pytest.mark.parametrize(
    ("name", "backend", "drawn"),
    [
        ("heads/grouped_query", "inductor", grouped), ("heads/differential", "aot_eager", differential),
        ("positions/relative_logits", "aot_eager", relative), ("masks/documents", "aot_eager", documents),
        ("cache/column_sums", "aot_eager", plain),
    ],
)  # fmt: skip
def test_forward_and_backward_at_any_length(name: str, backend: str, drawn: Shapes) -> None:
    attention, _ = example(name)
    whole = compiled(lambda *given: attention(*given), backend)
    generated: list[int] = []
    for n in (17, 33, 64):
        arguments = drawn(n)
        for argument in arguments:
            argument.requires_grad_(argument.is_floating_point())
        dynamic(arguments, n)
        found = [t.sin() for t in _all(whole(*arguments))]
        expected = [t.sin() for t in _all(attention(*arguments))]
        assert_agree(found, expected)
        assert_agree(_gradients(found, arguments), _gradients(expected, arguments), 2e-5)
        generated.append(cache.statistics.generated)
    assert len({*generated}) == 1


def _all(results: Any) -> tuple[Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)


def _gradients(results: list[Tensor], arguments: list[Tensor]) -> list[Tensor]:
    total = torch.stack([r.sum() for r in results]).sum()
    return list(torch.autograd.grad(total, [a for a in arguments if a.requires_grad]))


def test_only_some_gradients() -> None:
    attention, arguments = example("masks/documents")

    def run(call: Callable[..., Any]) -> Tensor:
        given = [t.detach().requires_grad_(at == 2) for at, t in enumerate(arguments)]
        return torch.autograd.grad(call(*given).square().sum(), given[2])[0]

    assert_agree([run(compiled(attention))], [run(attention)], 0)


def test_by_name_and_with_numbers() -> None:
    attention = attn_dsl.compile(TEMPERED)
    x = torch.randn(5, 4)
    found = compiled(lambda q: attention(q, tau=0.3, K=q))(x)
    assert_agree([found], [attention(x, x, 0.3)], 0)
    assert_agree([compiled(lambda q, t: attention(q, q, t))(x, torch.tensor(0.3))], [found], 0)


def test_sizes_that_values_decide() -> None:
    """Of a result, and of keys that were picked before: neither is known while the graph is made."""
    counted = attn_dsl.compile(COUNTED)
    x = torch.randn(5, 4)
    whole = compiled(lambda x, n: counted(x, x, n) * 2)
    for n in (3, 7):
        assert_agree([whole(x, torch.tensor(n))], [counted(x, x, n) * 2], 0)
    dense, (q, k, v) = example("basic/dense")

    def picked(mask: Tensor) -> Tensor:
        kept = mask.nonzero().squeeze(1)
        return dense(q, k.index_select(2, kept), v.index_select(2, kept))

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        whole = compiled(picked)
        for mask in (torch.arange(29) % 3 == 0, torch.arange(29) < 17):
            assert_agree([whole(mask)], [picked(mask)], 0)


def test_sizes_that_are_computed() -> None:
    """Maxima, differences and quotients of symbols make no guards on which is larger."""
    attention = attn_dsl.compile(REPEATED)
    whole = compiled(attention)
    for n, r in ((9, 4), (5, 7), (30, 3)):
        x, y = dynamic([torch.randn(n)], n)[0], dynamic([torch.randn(3 * r)], 3 * r)[0]
        assert_agree([whole(x, y)], [attention(x, y)])


def test_a_table_of_pages() -> None:
    """How far an index goes stands in a tensor, and no result has that index."""
    attention, arguments = example("cache/page_table")
    assert_agree(gradients(compiled(attention), arguments), gradients(attention, arguments), 0)


def test_under_autocast() -> None:
    attention, arguments = example("masks/documents", "f32")

    def region(*given: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.float16):
            return attention(*given)

    assert region(*arguments).dtype == torch.float16
    assert_agree([compiled(region)(*arguments)], [region(*arguments)], 0)


def test_transforms_inside() -> None:
    attention, arguments = example("heads/differential")
    pairs = [torch.stack([t, t * 2]) for t in arguments]
    mapped = torch.func.vmap(attention)
    assert_agree([compiled(mapped)(*pairs)], [mapped(*pairs)], 0)
    slope = torch.func.grad(lambda *given: attention(*given).square().sum(), tuple(range(6)))
    assert_agree(compiled(slope)(*arguments), slope(*arguments), 0)
    push = torch.func.jvp
    moved = compiled(lambda *given: push(attention, given, given))
    assert_agree(moved(*arguments), push(attention, tuple(arguments), tuple(arguments)))


def test_what_does_not_fit_is_told() -> None:
    attention, (q, k, v) = example("heads/grouped_query")
    with pytest.raises(Exception, match="argument 'K' of shape .* does not fit: index 'd' is 6 in 'Q'"):
        compiled(attention)(q, k[..., :3], v)
    with pytest.raises(Exception, match="missing value for argument 'V'"):
        compiled(attention)(q, k)


def test_lengths_that_disagree_at_run_time_are_told() -> None:
    """Between symbols without values nothing is known before the launch."""
    dense, (q, k, v) = example("basic/dense")

    def picked(one: Tensor, other: Tensor) -> Tensor:
        keys, values = one.nonzero().squeeze(1), other.nonzero().squeeze(1)
        return dense(q, k.index_select(2, keys), v.index_select(2, values))

    capture = torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True)
    with capture, pytest.raises(Exception, match="does not fit: index 'j' is 3"):
        compiled(picked)(torch.arange(29) < 3, torch.arange(29) < 4)
