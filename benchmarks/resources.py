"""What the kernels of every example take, with no GPU: ``python -m benchmarks.resources [--write] [NAME...]``.

Each example is compiled ahead of time for four architectures in bf16 at 128 features, for the first of them
at 64 too, with the schedule it gets by default; ``--backward``: its backward pass. Prints a table;
``--write`` puts it into ``benchmarks/resources.json``, which the tests hold later versions to.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

import attn_dsl

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
RESULT = ROOT / "benchmarks" / "resources.json"
ARCHITECTURES = ("cuda:90", "cuda:80", "cuda:100", "hip:gfx942")
FEATURES = {"cuda:90": (64, 128)}
JOBS = 2

Row = dict[str, Any]
Table = dict[str, dict[str, list[Row] | str]]


def main(arguments: list[str]) -> None:
    """Measure the named examples, or all; print, and write what was measured."""
    names = [a for a in arguments if not a.startswith("-")] or lowered_examples()
    table: Table = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    backward = "--backward" in arguments
    work = sorted(
        ((a, sizes, name) for name in names for a, sizes in calls(name)),
        key=lambda c: ARCHITECTURES.index(c[0]),
    )
    with ProcessPoolExecutor(JOBS) as pool:
        found = pool.map(measured, *zip(*((n, a, s, backward) for a, s, n in work), strict=True))
        for (architecture, sizes, name), rows in zip(work, found, strict=True):
            key = call_key(architecture, sizes) + (" backward" if backward else "")
            table.setdefault(name, {})[key] = rows
            print(f"{name}, {key}: {shown(rows)}", flush=True)
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
    for architecture in ARCHITECTURES:
        features = FEATURES.get(architecture, (128,))
        latent = name == "heads/latent"
        for sizes in [{"c": 512, "d": 64}] if latent else [_sizes(n) for n in features]:
            yield architecture, {index: size for index, size in sizes.items() if index in declared}


def _sizes(features: int) -> dict[str, int]:
    """``w``: words of sixteen packed values; ``u``: the taps of a convolution."""
    return {"d": features, "e": features, "w": features // 16, "u": 4}


def call_key(architecture: str, sizes: Mapping[str, int]) -> str:
    """``cuda:90 d=64 e=64``."""
    return " ".join([architecture, *(f"{index}={size}" for index, size in sizes.items())])


def measured(
    name: str, architecture: str, sizes: Mapping[str, int], backward: bool = False
) -> list[Row] | str:
    """The resources of each kernel, or what the compiler said when it refused."""
    attention = attn_dsl.compile(EXAMPLES / f"{name}.attn")
    try:
        kernels = attention.lower(architecture, dtype=torch.bfloat16, backward=backward, **sizes)
    except (attn_dsl.TargetError, attn_dsl.NotLoweredError) as error:
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
