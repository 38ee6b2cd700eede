#!/usr/bin/env bash
# torch 2.13.0, CPU, float32: torch.remainder and torch.fmod of large quotients are NaN for elements that a vector holds and exact for
# those that none does, so that an element's value depends on how many stand beside it. In float64 they are exact. The tests of
# remainders here (tests/numbers) are therefore held to float64.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy
cat > "$folder/remainder.py" <<'PYTHON'
import math

import torch

a, b = torch.full((16,), 3e9), torch.full((16,), 1e-30)
alone, among = torch.remainder(a[:1], b[:1]).item(), torch.remainder(a, b)[0].item()
exact = math.fmod(a[0].item(), b[0].item())
print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())
print("remainder(3e9, 1e-30): alone", alone, "- as one of 16:", among, "- exact:", exact)
assert math.isclose(alone, exact, rel_tol=1e-6) and math.isnan(among)
PYTHON
"$folder/venv/bin/python" "$folder/remainder.py"
