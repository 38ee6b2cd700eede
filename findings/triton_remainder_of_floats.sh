#!/usr/bin/env bash
# Triton 3.7.1: `a % b` of float32 is exact in the interpreter (numpy.fmod: 1e8 % 3 is 1) and a - trunc(a / b) * b where compiled for
# NVIDIA: a division, a conversion that cuts, one fused multiply-add, and no loop. The quotient is rounded to 24 bits first, so for
# 1e8 and 3 that formula gives -2. libdevice.fmod is exact, and has a loop. Here: codegen/targets/triton/functions.py, _remainder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet triton==3.7.1 torch==2.13.0 numpy
cat > "$folder/compiled.py" <<'PYTHON'
import re
from fractions import Fraction

import numpy as np
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.language.extra import libdevice


@triton.jit
def operator(a, b, y):
    tl.store(y, tl.load(a) % tl.load(b))


@triton.jit
def function(a, b, y):
    tl.store(y, libdevice.fmod(tl.load(a), tl.load(b)))


found = {}
for kernel in (operator, function):
    source = ASTSource(kernel, signature=dict.fromkeys("aby", "*fp32"))
    ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
    words = ("div", "cvt.rzi", "fma")
    body = [line.split()[0] for line in ptx.splitlines() if line.strip().startswith(words) and "f32" in line]
    found[kernel.__name__] = (body, bool(re.search(r"\bbra", ptx)))
print("triton", triton.__version__, "sm_90:")
for name, (body, branches) in found.items():
    print(" ", name, body[:6], "branches" if branches else "no branch")
a, b = np.float32(1e8), np.float32(3)
formula = float(Fraction(float(a)) - Fraction(float(np.trunc(a / b))) * Fraction(float(b)))
print("  that formula, of 1e8 and 3:", formula, "- exact:", 1e8 % 3)
operation, branches = found["operator"]
assert [word.split(".")[0] for word in operation] == ["div", "cvt", "fma"] and not branches
assert found["function"][1] and formula == -2.0
PYTHON
cat > "$folder/interpreted.py" <<'PYTHON'
import torch
import triton
import triton.language as tl


@triton.jit
def operator(a, b, y):
    tl.store(y, tl.load(a) % tl.load(b))


a, b, y = torch.tensor([1e8]), torch.tensor([3.0]), torch.zeros(1)
operator[(1,)](a, b, y)
print("triton", triton.__version__, "interpreter: 1e8 % 3 is", y.item())
assert y.item() == 1.0
PYTHON
"$folder/venv/bin/python" "$folder/compiled.py"
TRITON_INTERPRET=1 "$folder/venv/bin/python" "$folder/interpreted.py"
