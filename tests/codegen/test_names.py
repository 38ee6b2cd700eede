"""Names of a file's, whatever they mean in the languages that are printed, and beside the names that we
make."""

from __future__ import annotations

import keyword
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

import attn_dsl
from attn_dsl.codegen.naming import Namer, Value
from attn_dsl.codegen.program import Pointer, Stride
from attn_dsl.codegen.targets.cpu import words as cpp
from attn_dsl.codegen.targets.triton import words as python

HEADERS = Path(__file__).parents[2] / "templates" / "cpu"
# Tensor, stream, param and sum of one branch each; every name is in each place once.
HOSTILE = (
    ("NULL", "INT16_MIN", "FP_NAN", "wchar_t"),
    ("PTRDIFF_MAX", "INFINITY", "EOF", "assert"),
    ("errno", "int", "double", "std"),
    ("int32_t", "program", "lane_i", "attn"),
    ("None", "range", "float", "triton"),
    ("math", "tl", "O_ptr", "size_t"),
    ("size_j", "param_pw", "BLOCK_J", "stride_K_j"),
    ("iX", "ix", "K_tile", "inside_i"),
    ("self", "target", "args", "out"),
)
BRANCH = """
input {tensor}[{index}, d]
param {param}: int = 3
S_{at}[i, {index}] += Q[i,d] * {tensor}[{index}, d]  where {index} <= i + {param}
{total}[i] += S_{at}[i, {index}] ** 2
output {total}[i]
"""


def _text(turns: Sequence[Sequence[str]]) -> str:
    branches = [
        BRANCH.format(tensor=t, index=_index(j), param=p, total=s, at=at)
        for at, (t, j, p, s) in enumerate(turns)
    ]
    return "attention names\ninput Q[i, d]\n" + "".join(branches)


def _index(name: str) -> str:
    """Indices begin in lower case."""
    return name if name[0].islower() else name.lower()


def _right(query: Tensor, keys: Tensor) -> Tensor:
    seen = torch.arange(keys.shape[0]) <= torch.arange(query.shape[0])[:, None] + 3
    return ((query @ keys.T) * seen).square().sum(1)


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
@pytest.mark.parametrize("turn", range(4))
def test_values_under_any_name(turn: int, target: str) -> None:
    rows = [(*names[turn:], *names[:turn]) for names in HOSTILE]
    query, *keys = (torch.randn(5 + n, 4) for n in range(len(rows) + 1))
    found = attn_dsl.compile(_text(rows), target=target)(query, *keys)
    for one, given in zip(found, keys, strict=True):
        torch.testing.assert_close(one, _right(query, given), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_strides_of_tensors_that_are_called_alike(target: str) -> None:
    """``stride_K_cache_j`` could be of K along cache_j and of K_cache along j; ``b_c`` two indices or one."""
    text = """attention alike
input Q[i,d], K[cache_j,d], K_cache[j,d], R[b_c,d], R_b[c,d]
S[i,j] += Q[i,d] * K_cache[j,d]
T[i,cache_j] += Q[i,d] * K[cache_j,d]
U[i,c] += Q[i,d] * R_b[c,d]
W[i,b_c] += Q[i,d] * R[b_c,d]
O[i] += S[i,j] * S[i,j]
O[i] += T[i,cache_j] * T[i,cache_j]
O[i] += U[i,c] * U[i,c]
O[i] += W[i,b_c] * W[i,b_c]
output O[i]
"""
    query, *keys = (torch.randn(5 + n, 6 * n + 24)[:, n : n + 4] for n in range(5))
    found = attn_dsl.compile(text, target=target)(query, *keys)
    torch.testing.assert_close(found, sum((query @ k.T).square().sum(1) for k in keys), rtol=1e-4, atol=1e-4)


def test_what_a_mean_is_made_of_beside_a_tensor_of_that_name() -> None:
    text = """attention mean
input Q[i,d], K[j,d], V[j,e]
S[i,j] += Q[i,d] * K[j,d]
O_count[i,e] += S[i,j] * V[j,e]
O_total[i,e] += V[j,e] * V[j,e]
O[i,e] mean= S[i,j] * V[j,e] + O_count[i,e] + 0 * O_total[i,e]
output O[i,e], O_count[i,e], O_total[i,e]
"""
    query, key, value = torch.randn(9, 8), torch.randn(7, 8), torch.randn(7, 4)
    total = query @ key.T @ value
    mean, count, squares = attn_dsl.compile(text, target="cpu")(query, key, value)
    torch.testing.assert_close(mean, total / 7 + total)
    torch.testing.assert_close(count, total)
    torch.testing.assert_close(squares, value.square().sum(0).expand(9, 4))


def test_gradients_under_hostile_names() -> None:
    text = """attention int
input NULL[double, d], d_NULL[grad_O, d], V[grad_O, e]
S[double,grad_O] += NULL[double,d] * d_NULL[grad_O,d]
P[double,grad_O] = softmax[grad_O](S[double,grad_O])
O[double,e] += P[double,grad_O] * V[grad_O,e]
output O[double,e]
"""
    given = [torch.randn(5, 8), torch.randn(6, 8), torch.randn(6, 3)]
    kernel, dense = ([t.clone().requires_grad_() for t in given] for _ in range(2))
    attn_dsl.compile(text, target="cpu")(*kernel).square().sum().backward()
    (torch.softmax(dense[0] @ dense[1].T, 1) @ dense[2]).square().sum().backward()
    for one, other in zip(kernel, dense, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)


def test_every_word_of_python_is_reserved() -> None:
    assert all(map(python.is_reserved, (*keyword.kwlist, "range", "float", "tl", "triton")))


@pytest.mark.skipif(shutil.which("g++") is None, reason="asks g++ for its macros")
def test_every_macro_of_the_headers_is_reserved() -> None:
    includes = "".join(f'#include "{h.name}"\n' for h in sorted(HEADERS.glob("*.h")))
    command = [
        "g++",
        "-dM",
        "-E",
        "-x",
        "c++",
        "-std=c++20",
        "-fopenmp",
        "-march=native",
        f"-I{HEADERS}",
        "-",
    ]
    text = subprocess.run(command, input=includes, capture_output=True, text=True, check=True).stdout
    macros = {line.split()[1].partition("(")[0] for line in text.splitlines()}
    usable = {m for m in macros if m[0].isalpha()}
    assert len(usable) > 100
    assert {m for m in usable if not cpp.is_reserved(m)} == set()


def test_names_are_unique_and_a_readers_where_they_can_be() -> None:
    namer = Namer(cpp.is_reserved)
    assert namer.claim(Value("K"), "K") == "K"
    assert namer.claim(Value("stride_K_j"), "stride_K_j") == "stride_K_j"
    assert namer.claim(Stride("K", 0), "stride_K_j") == "stride_K_j_1"
    assert namer.claim(Stride("K_c", 0), "stride_K_j") == "stride_K_j_2"
    assert namer.claim(Value("NULL"), "NULL") == "NULL_"
    assert namer.claim(Stride("K", 0), "anything") == "stride_K_j_1"
    assert namer.claim(Pointer("int"), "int_ptr") == "int_ptr"
