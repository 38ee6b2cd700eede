"""What the kernels of every example take, with no GPU present: ``python -m benchmarks.resources [--write] [NAME...]``.

Each example is compiled ahead of time for four architectures in bf16, at feature sizes 64 and 128, with the default
schedule. Prints a table; ``--write`` puts it into ``benchmarks/resources.json``, which the tests hold later
versions to.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

import attn_dsl

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
RESULT = ROOT / "benchmarks" / "resources.json"
ARCHITECTURES = ("cuda:80", "cuda:90", "cuda:100", "hip:gfx942")
FEATURES = (64, 128)

Row = dict[str, Any]
Table = dict[str, dict[str, list[Row] | str]]


def main(arguments: list[str]) -> None:
    """Measure the named examples, or all; print, and write what was measured."""
    names = [a for a in arguments if not a.startswith("-")] or lowered_examples()
    table: Table = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in names:
        table[name] = {}
        for architecture, sizes in calls(name):
            key = call_key(architecture, sizes)
            table[name][key] = measured(name, architecture, sizes)
            print(f"{name}, {key}: {shown(table[name][key])}", flush=True)
        if "--write" in arguments:
            RESULT.write_text(as_text(table))


def lowered_examples() -> list[str]:
    """Every example but those whose lowering is to come."""
    files = sorted(EXAMPLES.rglob("*.attn"))
    names = [file.relative_to(EXAMPLES).with_suffix("").as_posix() for file in files]
    return [name for name in names if not name.startswith("coming/")]


def calls(name: str) -> Iterator[tuple[str, dict[str, int]]]:
    """The architectures and feature sizes an example is compiled for."""
    cascade = attn_dsl.compile(EXAMPLES / f"{name}.attn").cascade
    declared = {index.name for index in cascade.indices}
    choices = [{"c": 512, "d": 64}] if name == "heads/latent" else [_sizes(n) for n in FEATURES]
    for architecture in ARCHITECTURES:
        for sizes in choices:
            yield architecture, {index: size for index, size in sizes.items() if index in declared}


def _sizes(features: int) -> dict[str, int]:
    """``w``: words of sixteen packed values; ``u``: the taps of a convolution."""
    return {"d": features, "e": features, "w": features // 16, "u": 4}


def call_key(architecture: str, sizes: Mapping[str, int]) -> str:
    """``cuda:90 d=64 e=64``."""
    return " ".join([architecture, *(f"{index}={size}" for index, size in sizes.items())])


def measured(name: str, architecture: str, sizes: Mapping[str, int]) -> list[Row] | str:
    """The resources of each kernel, or what the compiler said when it refused."""
    attention = attn_dsl.compile(EXAMPLES / f"{name}.attn")
    try:
        kernels = attention.lower(architecture, dtype=torch.bfloat16, **sizes)
    except attn_dsl.TargetError as error:
        return error.diagnostics[0].message
    kept = ("registers", "spilled_bytes", "shared_bytes", "num_warps", "num_stages", "instructions")
    return [{field: kernel.to_dict()[field] for field in kept} for kernel in kernels]


def shown(rows: list[Row] | str) -> str:
    """One entry as a line of the table."""
    if isinstance(rows, str):
        return rows
    return "; ".join(
        f"{r['registers']} registers, {r['spilled_bytes']} spilled, {r['shared_bytes']} shared, "
        f"{r['num_warps']} warps, {' '.join(r['instructions'])}"
        for r in rows
    )


def as_text(table: Table) -> str:
    """JSON with one call a line, for readable differences."""
    blocks = [
        f"{json.dumps(name)}: {{\n"
        + ",\n".join(f"  {json.dumps(key)}: {json.dumps(rows)}" for key, rows in table[name].items())
        + "\n}"
        for name in sorted(table)
    ]
    return "{\n" + ",\n".join(blocks) + "\n}\n"


if __name__ == "__main__":
    main(sys.argv[1:])
