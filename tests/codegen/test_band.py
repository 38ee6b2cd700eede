"""What lies along the diagonals of a tile: read, multiplied and summed as a band."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import attn_dsl
from attn_dsl.codegen.schedule.tiling import Tiles, with_bands
from attn_dsl.codegen.targets import target_of

TARGETS = ("cpu", "interpreter")

CLIPPED = """attention clipped    # keys and values by distance, the table shorter than the distances
param reach: int = 3
input Q[b, i, d], K[b, j, d], V[b, j, e], E[_, d], F[_, e]
def place(i, j) = clamp(j - i, -reach, reach) + reach
S[b,i,j] += Q[b,i,d] * (K[b,j,d])
S[b,i,j] += Q[b,i,d] * E[place(i, j), d]
P[b,i,j]  = softmax[j](S[b,i,j])
O[b,i,e] += P[b,i,j] * V[b,j,e]
O[b,i,e] += P[b,i,j] * F[place(i, j), e]
output O[b, i, e]
"""

RISING = """attention rising    # the sum of the positions, of which some lie beyond the table
input Q[b, i, d], K[b, j, d], V[b, j, e], E[_, d], F[_, e]
S[b,i,j] += Q[b,i,d] * K[b,j,d]
R[b,i,j] += K[b,j,d] * E[i + j, d]
P[b,i,j]  = softmax[j](S[b,i,j] + R[b,i,j])  where j % 3 != i % 2
O[b,i,e] += P[b,i,j] * F[i + j, e] * V[b,j,0] / (i + 1)
output O[b, i, e]
"""

BUCKETS = """attention buckets    # a table of vectors by halves of the distance, a gate beside it
input Q[b, i, d], K[b, j, d], V[b, j, e], E[_, d], F[_, e]
S[b,i,j] += (Q[b,i,d] + 1) * E[(i - j + size(j)) // 2 % size(j), d] * (j + 1) / 8
P[b,i,j]  = softmax[j](S[b,i,j])  where j <= i + 2
O[b,i,e] += P[b,i,j] * V[b,j,e]
output O[b, i, e]
"""

SENT = """attention sent    # to the diagonals: weights alone, and with features of either side
input Q[b, i, d], K[b, j, d], V[b, j, e], E[_, d], F[_, e]
index o < size(i) + size(j) - 1
S[b,i,j] += Q[b,i,d] * K[b,j,d]
P[b,i,j]  = sigmoid(S[b,i,j])  where (i + 2 * j) % 3 != 0
D[b, i - j + size(j) - 1]    += P[b,i,j] * 2
G[b, i - j + size(j) - 1, d] += P[b,i,j] * Q[b,i,d]
H[b, i + j, e]               += P[b,i,j] * V[b,j,e]
output D[b, o]: f32, G[b, o, d]: f32, H[b, o, e]: f32
"""

TEXTS = [CLIPPED, RISING, BUCKETS, SENT]
SIZES = [(37, 41), (1, 20), (70, 3), (17, 0), (64, 64)]


def inputs(n: int, m: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    torch.manual_seed(n)
    shapes = [(2, n, 6), (2, m, 6), (2, m, 5), (max(m, 9), 6), (max(m, 9), 5)]
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("text", TEXTS, ids=lambda t: t.split()[1])
@pytest.mark.parametrize(("n", "m"), SIZES)
def test_values(text: str, target: str, n: int, m: int) -> None:
    attention = attn_dsl.compile(text, target=target)
    given = inputs(n, m)
    found, expected = attention(*given), attention.reference(*given)
    for value, wanted in zip(_all(found), _all(expected), strict=True):
        torch.testing.assert_close(value.double(), wanted.double(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("text", TEXTS, ids=lambda t: t.split()[1])
def test_gradients(text: str, target: str) -> None:
    attention = attn_dsl.compile(text, target=target)
    given = [t.requires_grad_() for t in inputs(37, 41, torch.float64 if target == "cpu" else torch.float32)]
    found, expected = _all(attention(*given)), _all(attention.reference(*given))
    adjoints = [torch.randn_like(t) for t in found]
    actual = torch.autograd.grad(found, given, adjoints, allow_unused=True)
    wanted = torch.autograd.grad(expected, given, [a.double() for a in adjoints], allow_unused=True)
    tolerance = 1e-9 if target == "cpu" else 1e-3
    for leaf, value, want in zip(given, actual, wanted, strict=True):
        value, want = (torch.zeros_like(leaf) if t is None else t for t in (value, want))
        torch.testing.assert_close(value, want.to(value.dtype), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("text", TEXTS, ids=lambda t: t.split()[1])
@pytest.mark.parametrize("backward", [False, True])
def test_no_tile_has_rows_keys_and_features(text: str, backward: bool) -> None:
    source = attn_dsl.compile(text).source("triton", backward=backward, d=64, e=64)
    kernels = [
        kernel for kernel in source.split("@triton.jit") if "tl.gather" in kernel
    ]  # not what adds up parts
    assert kernels
    for kernel in kernels:
        assert "None, :, :" not in kernel and "[:, None, :]" not in kernel and "[:, :, None]" not in kernel


def test_what_a_row_does_not_see_does_not_reach_it() -> None:
    """An embedding that holds nothing for the distances a row does not see, on a CPU."""
    text = CLIPPED.replace(
        "P[b,i,j]  = softmax[j](S[b,i,j])",
        "X[b,i,j] = S[b,i,j] where j <= i\nP[b,i,j] = softmax[j](X[b,i,j])",
    )
    attention = attn_dsl.compile(text, target="cpu")
    given = inputs(37, 41)
    expected = attention(*given)
    given[3][4:], given[4][4:] = torch.nan, torch.inf
    torch.testing.assert_close(attention(*given), expected)


def _all(found: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("stream", [1, 2, 8, 16, 64])
@pytest.mark.parametrize("rows", [16, 64])
def test_diagonals_fill_whole_vectors(rows: int, stream: int) -> None:
    """Also where a stream shares its lanes with features and has few."""
    machine = target_of("cpu").machine
    tiles = with_bands(Tiles((("i", rows),), {"j": stream}, {}), {"j": "j:band"}, machine)
    ((axis, lanes),) = tiles.bands.values()
    assert axis == "j:band" and lanes >= rows + stream and lanes % 16 == 0
