"""How long people wait for the compiler: ``python -m benchmarks.compile_time``.

For every example: text to generated source, in milliseconds (the best of several runs in one process, after
one that fills caches). Beside it, of fresh processes: ``import torch``, ``import attn_dsl`` and ``attn
check``. Writes ``benchmarks/results/cpu/compile_time.json``.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import triton

from attn_dsl.cli.lowering import example_program
from attn_dsl.errors import NotLoweredError
from attn_dsl.language.load import load_file
from benchmarks.__main__ import machine

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "cpu" / "compile_time.json"
RUNS = 3


def main() -> None:
    """Measure, print a table, write the result."""
    examples = {str(p.relative_to(ROOT)): _example(p) for p in sorted((ROOT / "examples").rglob("*.attn"))}
    processes = {
        "import torch": _process("-c", "import torch"),
        "import torch, attn_dsl": _process("-c", "import torch, attn_dsl"),
        "attn check dense.attn": _process("-m", "attn_dsl.cli.main", "check", "examples/basic/dense.attn"),
    }
    _print(examples, processes)
    RESULT.parent.mkdir(exist_ok=True)
    data = {
        "machine": {**machine("cpu"), "triton": triton.__version__},
        "processes_s": processes,
        "text_to_source_ms": examples,
    }
    RESULT.write_text(json.dumps(data, indent=1) + "\n")


def _example(path: Path) -> float | None:
    """Milliseconds; None for what is not lowered yet."""
    try:
        example_program(load_file(path).cascade)
    except NotLoweredError:
        return None
    return round(1e3 * min(_timed(lambda: example_program(load_file(path).cascade)) for _ in range(RUNS)), 1)


def _process(*arguments: str) -> float:
    command = [sys.executable, *arguments]

    def run() -> None:
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    run()
    return round(statistics.median(_timed(run) for _ in range(RUNS)), 3)


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _print(examples: dict[str, float | None], processes: dict[str, float]) -> None:
    for name, milliseconds in examples.items():
        print(f"{name:50} {'not lowered' if milliseconds is None else f'{milliseconds:8.1f} ms'}")
    found = [m for m in examples.values() if m is not None]
    if found:
        print(
            f"{'median of ' + str(len(found)):50} {statistics.median(found):8.1f} ms, largest {max(found):.1f} ms"
        )
    for name, seconds in processes.items():
        print(f"{name:50} {seconds:8.3f} s")


if __name__ == "__main__":
    main()
