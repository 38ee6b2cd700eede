#!/usr/bin/env bash
# Triton 3.7.1: tl.max(x) of a tile that holds NaN is the greatest other element, compiled (max.f32 in PTX) and in its interpreter
# (numpy.nanmax), where torch.amax and tl.maximum(..., propagate_nan=tl.PropagateNan.ALL) give NaN.
# A tl.reduce with a propagating maximum gives max.NaN.f32, one instruction as well. Here: codegen/targets/triton/functions.py, _greatest.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet triton==3.7.1 torch==2.13.0 numpy
cat > "$folder/compiled.py" <<'PYTHON'
import re

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


@triton.jit
def greater(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def plain(x, y):
    tl.store(y, tl.max(tl.load(x + tl.arange(0, 128)), 0))


@triton.jit
def propagating(x, y):
    tl.store(y, tl.reduce(tl.load(x + tl.arange(0, 128)), 0, greater))


found = {}
for kernel in (plain, propagating):
    source = ASTSource(kernel, signature={"x": "*fp32", "y": "*fp32"})
    ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
    found[kernel.__name__] = sorted(set(re.findall(r"\bmax[.\w]*f32\b", ptx)))
print("triton", triton.__version__, "sm_90:", found)
assert found == {"plain": ["max.f32"], "propagating": ["max.NaN.f32"]}
PYTHON
cat > "$folder/interpreted.py" <<'PYTHON'
import torch
import triton
import triton.language as tl


@triton.jit
def plain(x, y):
    tl.store(y, tl.max(tl.load(x + tl.arange(0, 4)), 0))


x, y = torch.tensor([1.0, float("nan"), 3.0, 2.0]), torch.zeros(1)
plain[(1,)](x, y)
print("triton", triton.__version__, "interpreter: tl.max of", x.tolist(), "is", y.item(), "- torch", torch.__version__, "gives", x.amax().item())
assert y.item() == 3.0 and x.amax().isnan()
PYTHON
"$folder/venv/bin/python" "$folder/compiled.py"
TRITON_INTERPRET=1 "$folder/venv/bin/python" "$folder/interpreted.py"
