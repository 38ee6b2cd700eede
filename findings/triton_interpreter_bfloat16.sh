#!/usr/bin/env bash
# Triton 3.7.1: x.to(tl.bfloat16) cuts the last sixteen bits off in the interpreter, and rounds to the nearest where compiled
# (cvt.rn.bf16.f32 in PTX), as torch does: 1.1 is 1.09375 in the one and 1.1015625 in the others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet triton==3.7.1 torch==2.13.0 numpy
cat > "$folder/both.py" <<'PYTHON'
import os
import re
import sys

import triton
import triton.language as tl


@triton.jit
def rounded(x, y):
    at = tl.arange(0, 128)
    tl.store(y + at, tl.load(x + at).to(tl.bfloat16))


if os.environ.get("TRITON_INTERPRET") == "1":
    import torch

    x, y = torch.full((128,), 1.1), torch.zeros(128, dtype=torch.bfloat16)
    rounded[(1,)](x, y)
    print("triton", triton.__version__, "interpreter:", y[0].item(), "- torch", torch.__version__, x.bfloat16()[0].item())
    assert y[0].item() == 1.09375 and x.bfloat16()[0].item() == 1.1015625
    sys.exit()
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

source = ASTSource(rounded, signature={"x": "*fp32", "y": "*bf16"})
ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
found = sorted(set(re.findall(r"\bcvt[.\w]*bf16[.\w]*", ptx)))
print("triton", triton.__version__, "sm_90:", found)
assert found and all(name.startswith("cvt.rn.") for name in found)
PYTHON
"$folder/venv/bin/python" "$folder/both.py"
TRITON_INTERPRET=1 "$folder/venv/bin/python" "$folder/both.py"
