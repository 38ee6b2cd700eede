#!/usr/bin/env bash
# Triton 3.7.1: tl.sort of a tile that holds NaN is no permutation of it. In the interpreter NaN is lost and another element occurs
# twice; torch.sort puts NaN last.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet triton==3.7.1 torch==2.13.0 numpy
cat > "$folder/interpreted.py" <<'PYTHON'
import torch
import triton
import triton.language as tl


@triton.jit
def ordered(x, y):
    at = tl.arange(0, 8)
    tl.store(y + at, tl.sort(tl.load(x + at)))


x, y = torch.tensor([3.0, 1.0, float("nan"), 2.0, 7.0, 5.0, 4.0, 6.0]), torch.zeros(8)
ordered[(1,)](x, y)
print("triton", triton.__version__, "interpreter: tl.sort of", x.tolist(), "is", y.tolist())
print("torch", torch.__version__, "torch.sort:", x.sort().values.tolist())
assert y.tolist() == [1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
PYTHON
TRITON_INTERPRET=1 "$folder/venv/bin/python" "$folder/interpreted.py"
