"""Memory of a call and of its derivatives, against length: each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

LENGTHS = (1024, 4096, 16384, 65536)
# A causal softmax over all keys where that takes seconds, a window where only its time would be too long.
MECHANISMS = {
    "causal": ("basic/cross_causal", {}, 16384),
    "window 256": ("masks/sliding_window", {"window": 256}, 65536),
}
KINDS = ("forward", "forward and backward", "tangent", "second derivative")
PEAK = """
import json, sys, torch
from pathlib import Path
import attn_dsl
from benchmarks.cases import EXAMPLES
path, params, kind, length = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4])
attention = attn_dsl.compile(EXAMPLES / f"{path}.attn", params=params)

def mib(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith(field)) / 1024

def run(n):
    shape = {"b": 1, "h": 1, "g": 1, "r": 1, "i": n, "j": n, "d": 64, "e": 64}
    given = [torch.randn([shape[x] if len(a.indices) == 1 else 1 for a in i.axes for x in a.indices[:1]]) for i in attention.cascade.inputs]
    before = mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark so far
    if kind == "forward":
        attention(*given)
    elif kind == "tangent":
        torch.func.jvp(attention, tuple(given), tuple(given))
    else:
        leaves = [t.requires_grad_() for t in given]
        found = torch.autograd.grad(attention(*leaves).sum(), leaves, create_graph=kind == "second derivative")
        if kind == "second derivative":
            torch.autograd.grad(sum(g.square().sum() for g in found), leaves)
    return mib("VmHWM") - before

run(256)
print(json.dumps(run(length)))
"""


def memory() -> dict[str, Any]:
    """MiB by which a process grows at most beyond its inputs: one head of 64 features in f32."""
    found: dict[str, Any] = {}
    for name, (path, params, longest) in MECHANISMS.items():
        for kind in KINDS:
            for length in (n for n in LENGTHS if n <= longest):
                command = [sys.executable, "-c", PEAK, path, json.dumps(params), kind, str(length)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found[f"{name}|{kind}|{length}"] = json.loads(done.stdout.strip().splitlines()[-1])
                print(
                    f"{name}, {kind}, {length} tokens: {found[f'{name}|{kind}|{length}']:.1f} MiB",
                    file=sys.stderr,
                )
    return found
