"""Integers beyond 32 bits: windows, lengths, positions, numbers of pairs. Right is plain torch, in int64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attn_dsl.errors import ArgumentError
from tests.numbers.evaluators import EVALUATORS, evaluate

EXTREMES = [-(2**63), -(2**32), -(2**31), -1, 0, 2, 2**31 - 1, 2**31, 2**32, 2**32 + 2, 2**62, 2**63 - 1]


def masked(predicate: str, inputs: str = "", params: str = "") -> str:
    return f"""attention masked
{params}
input Q[i,d], K[j,d], V[j,e]{inputs}
S[i,j] += Q[i,d] * K[j,d]
X[i,j]  = S[i,j] where {predicate}
P[i,j]  = softmax[j](X[i,j])
O[i,e] += P[i,j] * V[j,e]
output O[i,e]
"""


def attend(mask: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention over the keys of a mask; 0 where there are none."""
    scores = (q.double() @ k.double().T).masked_fill(~mask, -torch.inf)
    return torch.softmax(scores, -1).nan_to_num(0.0) @ v.double()


@pytest.fixture(name="qkv")
def _qkv() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(90, 16), torch.randn(90, 16), torch.randn(90, 16)


def check(text: str, mask: Tensor, arguments: list[Tensor], **params: int) -> None:
    right = attend(mask, *arguments[:3])
    for evaluator in EVALUATORS:
        found = evaluate(evaluator, text, arguments, **params)
        assert torch.allclose(found.double(), right, rtol=1e-4, atol=1e-5), (evaluator, params)


ROWS, KEYS = torch.arange(90)[:, None], torch.arange(90)[None, :]


@pytest.mark.parametrize("window", EXTREMES)
def test_any_window(window: int, qkv: tuple[Tensor, ...]) -> None:
    text = masked("0 <= i - j < window", params="param window: int")
    check(text, (ROWS - KEYS >= 0) & (window > ROWS - KEYS), [*qkv], window=window)


@pytest.mark.parametrize("window", EXTREMES[:-1])  # i + (2**63 - 1) has more than 64 bits
def test_any_shift(window: int, qkv: tuple[Tensor, ...]) -> None:
    text = masked("j >= i + window", params="param window: int")
    right = torch.tensor([[int(j) >= int(i) + window for j in range(90)] for i in range(90)])
    check(text, right, [*qkv], window=window)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize(
    "predicate", ["j < L[i]", "i - j < L[i]", "j > L[i]", "j <= L[i]", "j // 4 < L[i]", "j >= i - L[i]"]
)
def test_any_length(predicate: str, dtype: torch.dtype, qkv: tuple[Tensor, ...]) -> None:
    limits = torch.iinfo(dtype)
    least = -(2**62) if "i - L" in predicate else limits.min  # i - (-2**63) has more than 64 bits
    near = [max(least, limits.min), max(least, limits.min) + 1, -1, 0, 7, 80, limits.max - 1, limits.max]
    lengths = [near[i % len(near)] for i in range(90)]
    text = masked(predicate, f", L[i]: i{limits.bits}")
    python = predicate.replace("L[i]", "length")
    right = torch.tensor(
        [[eval(python, {"i": i, "j": j, "length": lengths[i]}) for j in range(90)] for i in range(90)]
    )
    check(text, right, [*qkv, torch.tensor(lengths, dtype=dtype)])


def test_times_in_milliseconds(qkv: tuple[Tensor, ...]) -> None:
    month = 30 * 24 * 3600 * 1000
    times = 1_760_000_000_000 + torch.arange(90) * 10**8
    text = (
        masked("0 <= t[i] - t[j] < window", ", t[j]: i64", "param window: int")
        .replace("t[i]", "s[i]")
        .replace(", t[j]", ", s[i]: i64, t[j]", 1)
    )
    check(
        text,
        (times[:, None] - times >= 0) & (times[:, None] - times < month),
        [*qkv, times, times],
        window=month,
    )


@pytest.mark.parametrize("padding", [2**31 - 1, -(2**31)])
def test_positions_padded_by_the_ends_of_their_type(padding: int, qkv: tuple[Tensor, ...]) -> None:
    positions = torch.arange(-5, 85, dtype=torch.int32)
    positions[70:] = padding
    text = masked("abs(s[i] - t[j]) < 8", ", s[i]: i32, t[j]: i32")
    far = positions.long()
    check(text, (far[:, None] - far).abs() < 8, [*qkv, positions, positions])


def test_bits_of_all_pairs() -> None:
    """Bit i * n + j of a packed table: the number of a pair of 46,400 tokens has more than 31 bits."""
    n = 46_400
    bits = torch.randint(0, 256, (n * n // 8 + 1,), dtype=torch.uint8)
    text = """attention packed
input table[_]: u8, rows[m]: i32, keys[c]: i32, N[n]
Y[m,c] = table[(rows[m] * size(n) + keys[c]) // 8] >> (rows[m] * size(n) + keys[c]) % 8 & 1
output Y[m,c]: i32
"""
    rows, keys = (
        torch.tensor([0, 5, n - 1], dtype=torch.int32),
        torch.tensor([0, 9, n - 1], dtype=torch.int32),
    )
    number = rows.long()[:, None] * n + keys
    right = bits[number // 8].long() >> (number % 8) & 1
    for evaluator in EVALUATORS:
        found = evaluate(evaluator, text, [bits, rows, keys, torch.zeros(1).expand(n)])
        assert torch.equal(found.long(), right), evaluator


def test_slots_of_lists_that_hold_no_index() -> None:
    blocks = torch.tensor([0, 2, 2**28, 2**31 - 1, -1], dtype=torch.int32)
    text = "attention slots\ninput X[k], B[n]: i32\nindex u < 16\nY[n,u] = default(X[B[n] * 16 + u], -1)\noutput Y[n,u]\n"
    values = torch.arange(64.0)
    places = blocks.long()[:, None] * 16 + torch.arange(16)
    inside = (places >= 0) & (places < 64)
    right = torch.where(inside, values[places.clamp(0, 63)], -1.0)
    for evaluator in EVALUATORS:
        assert torch.equal(evaluate(evaluator, text, [values, blocks]).float(), right), evaluator


def test_sums_and_products_of_integers() -> None:
    x = torch.tensor([2**31 - 1, 2**31 - 1, -5, 7], dtype=torch.int32)
    for operator, right in (
        ("+=", x.long().sum()),
        ("*=", x.long().prod()),
        ("max=", x.max()),
        ("min=", x.min()),
    ):
        text = f"attention whole\ninput X[c,j]: i32\nY[c] {operator} X[c,j]\noutput Y[c]\n"
        for evaluator in EVALUATORS:
            found = evaluate(evaluator, text, [x[None]])
            assert found.item() == right.item(), (evaluator, operator)


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_too_many_elements_for_a_coordinate(evaluator: str) -> None:
    text = "attention counted\ninput X[c, j]\nY[c] max= X[c,j]\noutput Y[c]\n"
    with pytest.raises(ArgumentError, match="index 'j' has 2147483648 elements"):
        evaluate(evaluator, text, [torch.ones(1, 1).expand(1, 2**31)])


def test_a_long_index_needs_64_bits() -> None:
    """i * 100 of thirty million rows has more than 31 bits; the reads keep to one place."""
    text = "attention long\ninput X[i]: bool\nY[u] max= i * 100 where X[i] and u == 0\nindex u < 1\noutput Y[u]\n"
    n = 3 * 10**7
    assert evaluate("cpu", text, [torch.ones(1, dtype=torch.bool).expand(n)]).item() == (n - 1) * 100
