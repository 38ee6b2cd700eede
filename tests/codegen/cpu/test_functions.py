"""The functions of native kernels: errors in units in the last place, special values, and that they are
vectors."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attn_dsl.reference.philox import uniform
from attn_dsl.runtime.native import FLAGS, find_compiler

HEADERS = Path(__file__).parents[3] / "templates" / "cpu"
UNARY = ["exp2", "exp", "expm1", "log", "log2", "log1p", "tanh", "sigmoid", "softplus", "erf", "sin", "cos"]
Array = np.ndarray[Any, np.dtype[Any]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("functions")


@pytest.fixture(scope="session")
def library(folder: Path) -> ctypes.CDLL:
    loop = "for (int64_t n = 0; n < count; ++n)"
    lines = ['#include "tiles.h"', 'extern "C" {']
    for name in UNARY:
        lines.append(f"void lanes_{name}(const float* x, float* y, int64_t count) {{")
        lines.append(f"ATTN_LANES {loop} y[n] = attn::{name}_(x[n]); }}")
    lines.append("void lanes_power(const float* a, const float* b, float* y, int64_t count) {")
    lines.append(f"ATTN_LANES {loop} y[n] = attn::power_(a[n], b[n]); }}")
    for kind in ("int32_t", "int64_t"):
        for name in ("floor_div", "floor_mod"):
            lines.append(
                f"void lanes_{name}_{kind}(const {kind}* a, const {kind}* b, {kind}* y, int64_t count) {{"
            )
            lines.append(f"ATTN_LANES {loop} y[n] = attn::{name}(a[n], b[n]); }}")
    for name in ("bf16", "f16"):
        lines.append(f"void lanes_from_{name}(const uint16_t* x, float* y, int64_t count) {{")
        lines.append(f"ATTN_LANES {loop} y[n] = attn::from_{name}(x[n]); }}")
        lines.append(f"void lanes_to_{name}(const float* x, uint16_t* y, int64_t count) {{")
        lines.append(f"ATTN_LANES {loop} y[n] = attn::to_{name}(x[n]); }}")
    for name in ("maximum", "minimum"):
        lines.append(f"void lanes_{name}(const float* a, const float* b, float* y, int64_t count) {{")
        lines.append(f"ATTN_LANES {loop} y[n] = attn::{name}(a[n], b[n]); }}")
    lines.append("void lanes_uniform(int64_t seed, const int32_t* c, float* y, int64_t count) {")
    lines.append(f"{loop} y[n] = attn::uniform_(seed, c[n], 7, -3, 0); }}")
    source = folder / "functions.cpp"
    source.write_text("\n".join([*lines, "}"]))
    compiler = find_compiler()
    assert compiler is not None
    command = [*compiler, *FLAGS, f"-I{HEADERS}", str(source), "-o", str(folder / "functions.so")]
    report = "-fopt-info-vec" if "clang" not in compiler[0] else "-Rpass=loop-vectorize"
    done = subprocess.run([*command, report], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "report").write_text(done.stderr)
    return ctypes.CDLL(str(folder / "functions.so"))


def apply(library: ctypes.CDLL, name: str, result: type, *arrays: Array) -> Array:
    out = np.empty(arrays[0].shape, result)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*arrays, out)]
    getattr(library, f"lanes_{name}")(*pointers, ctypes.c_int64(out.size))
    return out


def every_exponent(seed: int = 0, count: int = 1 << 18) -> Array:
    bits = np.random.default_rng(seed).integers(0, 1 << 32, count, dtype=np.uint64).astype(np.uint32)
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-40, -126.0, 127.99999, 128.0], np.float32
    )
    return np.concatenate([bits.view(np.float32), special, np.linspace(-20, 20, 1 << 17).astype(np.float32)])


def ulps(result: Array, exact: Array) -> Array:
    """Errors in units in the last place of the exact result. Below the normal range, anything there will
    do."""
    least = 2.0**-126
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = exact.astype(np.float32)
    unit = np.spacing(np.maximum(np.abs(rounded), np.float32(least))).astype(np.float64)
    counted = np.isfinite(rounded) & (np.abs(rounded) < 3.4e38)
    counted &= (np.abs(exact) >= least) | (np.abs(result) > least)
    return np.where(counted, np.abs(result.astype(np.float64) - exact) / unit, 0.0)


def exact(name: str, x: Array) -> Array:
    """The value in doubles."""
    functions: dict[str, Callable[[Array], Array]] = {
        "exp2": np.exp2, "exp": np.exp, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log1p": np.log1p,
        "tanh": np.tanh, "sin": np.sin, "cos": np.cos,
        "sigmoid": lambda v: torch.sigmoid(torch.from_numpy(v)).numpy(),
        "softplus": lambda v: np.maximum(v, 0) + np.log1p(np.exp(-np.abs(v))),
        "erf": lambda v: torch.erf(torch.from_numpy(v)).numpy(),
    }  # fmt: skip
    with np.errstate(all="ignore"):
        return functions[name](x.astype(np.float64))


BOUNDS = {
    "exp2": 2, "exp": 2, "log": 2, "log2": 3, "log1p": 4, "expm1": 4, "tanh": 5, "sigmoid": 5, "softplus": 5,
    "erf": 5, "sin": 2, "cos": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_errors_are_those_the_header_states(library: ctypes.CDLL, name: str) -> None:
    x = every_exponent()
    if name in ("sin", "cos"):
        x = x[(np.abs(x) <= 1e8) | ~np.isfinite(x)]
    result, expected = apply(library, name, np.float32, x), exact(name, x)
    assert np.array_equal(np.isnan(result), np.isnan(expected))
    infinite = np.isinf(expected)
    assert np.array_equal(result[infinite], expected[infinite])
    overflow = np.isinf(expected.astype(np.float32)) & ~infinite
    assert np.all(np.isinf(result[overflow]))
    errors = np.nan_to_num(ulps(result, expected))
    worst = int(errors.argmax())
    assert errors[worst] <= BOUNDS[name], f"{name}({x[worst]!r}) = {result[worst]!r}: {errors[worst]:.2f} ulp"


def test_powers(library: ctypes.CDLL) -> None:
    generator = np.random.default_rng(1)
    a = generator.uniform(-4, 4, 1 << 17).astype(np.float32)
    b = np.where(
        generator.random(a.size) < 0.5,
        generator.integers(-60, 60, a.size),
        generator.uniform(-60, 60, a.size),
    )
    a = np.concatenate([a, np.array([0.0, 0.0, 0.0, -2.0, -2.0, np.inf, np.nan, 0.9999], np.float32)])
    b = np.concatenate([b, [2.0, -1.0, 0.0, 3.0, 0.5, -2.0, 0.0, 1e5]]).astype(np.float32)
    with np.errstate(all="ignore"):
        expected = np.power(a.astype(np.float64), b.astype(np.float64))
    result = apply(library, "power", np.float32, a, b)
    assert np.array_equal(np.isnan(result), np.isnan(expected))
    assert np.max(np.nan_to_num(ulps(result, expected), posinf=0.0)) <= 3


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_division_rounds_down(library: ctypes.CDLL, kind: str) -> None:
    generator = np.random.default_rng(2)
    a = generator.integers(-(2**31), 2**31, 1 << 16).astype(kind)
    b = np.where(
        generator.random(a.size) < 0.5,
        generator.integers(1, 70, a.size),
        generator.integers(-(2**31), -1, a.size),
    )
    b = b.astype(kind)
    dtype = np.dtype(kind).type
    assert np.array_equal(apply(library, f"floor_div_{kind}_t", dtype, a, b), a // b)
    assert np.array_equal(apply(library, f"floor_mod_{kind}_t", dtype, a, b), a % b)


@pytest.mark.parametrize(("name", "dtype"), [("f16", torch.float16), ("bf16", torch.bfloat16)])
def test_sixteen_bits(library: ctypes.CDLL, name: str, dtype: torch.dtype) -> None:
    patterns = np.arange(1 << 16, dtype=np.uint16)
    values = torch.from_numpy(patterns.view(np.int16)).view(dtype).float().numpy()
    mine = apply(library, f"from_{name}", np.float32, patterns)
    assert np.array_equal(mine, values, equal_nan=True)
    x = np.concatenate([every_exponent(), values, np.nextafter(values, np.float32(np.inf))])
    expected = torch.from_numpy(x).to(dtype).view(torch.int16).numpy().view(np.uint16)
    result = apply(library, f"to_{name}", np.uint16, x)
    number = ~np.isnan(x)
    assert np.array_equal(result[number], expected[number])
    assert np.all(np.isnan(apply(library, f"from_{name}", np.float32, result[~number])))


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_extremes_propagate_nan(library: ctypes.CDLL, name: str) -> None:
    x = np.array([np.nan, 1.0, -np.inf, np.inf, 0.0], np.float32)
    a, b = (np.ascontiguousarray(g.ravel()) for g in np.meshgrid(x, x))
    assert np.array_equal(apply(library, name, np.float32, a, b), getattr(np, name)(a, b), equal_nan=True)


def test_random_numbers_are_the_reference_s(library: ctypes.CDLL) -> None:
    counters = np.arange(-500, 500, dtype=np.int32)
    seed = 0x1234_5678_9ABC_DEF
    out = np.empty(counters.shape, np.float32)
    library.lanes_uniform(
        ctypes.c_int64(seed), ctypes.c_void_p(counters.ctypes.data), ctypes.c_void_p(out.ctypes.data),
        ctypes.c_int64(out.size),
    )  # fmt: skip
    words = tuple(torch.as_tensor(c, dtype=torch.int64) for c in (counters, 7, -3))
    assert np.array_equal(out, uniform(torch.tensor(seed), words, torch.float32).numpy())


def test_loops_of_them_are_vectors(library: ctypes.CDLL, folder: Path) -> None:
    """Every loop of the test library but those of 64-bit division and random numbers is reported as
    vectorised."""
    lines = (folder / "functions.cpp").read_text().splitlines()
    scalar = ("int64_t*", "uniform")
    loops = [
        at
        for at, line in enumerate(lines, 1)
        if line.startswith("ATTN_LANES") and not any(s in lines[at - 2] for s in scalar)
    ]
    report = (folder / "report").read_text()
    missing = [lines[at - 2] for at in loops if f"functions.cpp:{at}:" not in report]
    assert not missing, missing
