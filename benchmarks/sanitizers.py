"""Native kernels under g++'s sanitizers: ``python -m benchmarks.sanitizers [--kind thread]``.

``address``: with undefined behaviour, of every example, forward and backward, at lengths 0, 1 and primes,
with features of 1, 17 and 80 (``--features``); what is read out of place, misaligned, or overflows ends the
run and is shown.

``thread``: the same on several threads. gcc's OpenMP library is not instrumented, so that its own locks are
taken for races; the kernels are linked with the few entries of it that they call, on ``std::thread``
(``threads.cpp``), whose every access the sanitizer sees. (LLVM has this built in, as Archer.)

Python loads an instrumented library only where the sanitizer's own was loaded before it (LD_PRELOAD).
Programs are kept in ``--cache``, so that a run that was cut short goes on where it ended. The exit status is
1 if anything was found.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from attn_dsl.runtime.attention import Attention
    from tests.examples.cases import Case

ROOT = Path(__file__).parents[1]
LENGTHS = (0, 1, 2, 7, 31, 67)
FEATURES = (1, 17, 80)
THREADS = Path(__file__).parent / "threads.cpp"
_VERSION = zlib.crc32(THREADS.read_bytes())  # flags are part of what the cache knows a program by
FLAGS = {
    "address": "-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer",
    "thread": f"-O1 -g1 -fsanitize=thread -Wl,-Bsymbolic -DATTN_THREADS={_VERSION} {THREADS}",
}
LIBRARIES = {"address": ("libasan.so", "libubsan.so"), "thread": ("libtsan.so",)}
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:report_signal_unsafe=0",
}
CLEAN = "clean"


def main() -> None:
    """Run the kinds, print what each example came to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", action="append", choices=list(FLAGS))
    parser.add_argument("--features", action="append", type=int, help=f"default: {FEATURES}")
    parser.add_argument("--example", action="append", help="as masks/documents; default: all")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "attn_dsl_sanitizers")
    given = parser.parse_args()
    end = time.monotonic() + 60 * given.minutes
    names = given.example or _names()
    shares = [names[n :: given.processes] for n in range(given.processes)]
    work = [
        (kind, width, share)
        for kind in given.kind or FLAGS
        for width in given.features or FEATURES
        for share in shares
        if share
    ]
    with ThreadPoolExecutor(given.processes) as pool:
        runs = [pool.submit(_reported, *item, given.cache, end) for item in work]
        sys.exit(1 if sum(run.result() for run in runs) else 0)


def _names() -> list[str]:
    from tests.examples.test_kernels import LOWERED

    return LOWERED


def _reported(kind: str, width: int, names: list[str], cache: Path, end: float) -> bool:
    """Whether something was found."""
    result = findings(kind, width, names, cache, max(end - time.monotonic(), 1))
    for name in names:
        print(f"{kind:8} {width:3} {name}: {result.get(name, 'not run')}", flush=True)
    return any(text != CLEAN for text in result.values())


def findings(kind: str, width: int, names: list[str], cache: Path, seconds: float) -> dict[str, str]:
    """What a sanitizer says of the kernels of each example, as far as the time goes. One ends its process,
    and another goes on with the rest."""
    end = time.monotonic() + seconds
    result: dict[str, str] = {}
    while (rest := [n for n in names if n not in result]) and (left := end - time.monotonic()) > 0:
        try:
            done = _process(kind, width, rest, cache, left)
        except subprocess.TimeoutExpired as late:
            text = late.stdout.decode() if isinstance(late.stdout, bytes) else ""
            return result | dict.fromkeys(_told(text), CLEAN)
        result |= dict.fromkeys(_told(done.stdout), CLEAN)
        if done.returncode or not _told(done.stdout):
            guilty = next(n for n in rest if n not in result)
            result[guilty] = f"exit {done.returncode}\n{done.stderr[-6000:]}"
    return result


def _told(text: str) -> list[str]:
    return [line.removesuffix(f" {CLEAN}") for line in text.splitlines() if line.endswith(f" {CLEAN}")]


def _process(
    kind: str, width: int, names: list[str], cache: Path, seconds: float
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, **OPTIONS, "LD_PRELOAD": " ".join(libraries(kind)), "ATTN_DSL_CXXFLAGS": FLAGS[kind],
        "ATTN_DSL_CACHE": str(cache), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, "-c", f"from benchmarks.sanitizers import run; run({names!r}, {width})"]
    if kind == "thread":  # its shadow memory is laid out for addresses that are not random
        command = ["setarch", "-R", *command]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False, timeout=seconds
    )


def libraries(kind: str) -> list[str]:
    """The sanitizers' own libraries. FileNotFoundError where the compiler has none."""
    from attn_dsl.runtime.native import find_compiler

    found = [_library(find_compiler() or (), name) for name in LIBRARIES[kind]]
    if any(not Path(path).is_absolute() for path in found):
        raise FileNotFoundError(f"the compiler has no {' and '.join(LIBRARIES[kind])}")
    return found


def _library(compiler: tuple[str, ...], name: str) -> str:
    command = [*compiler, f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def run(names: list[str], width: int) -> None:
    """Every length of some examples, forward and backward, in this process; says so after each."""
    import torch

    from tests.examples.cases import CASES
    from tests.examples.test_kernels import compiled

    torch.set_num_threads(3)
    for name in names:
        attention = compiled(name, "cpu")
        for case in _cases(CASES[name], width):
            _call(attention, case.arguments(attention.cascade, "f32"))
        print(name, CLEAN, flush=True)


def _cases(case: Case, width: int) -> Iterator[Case]:
    """The case with other sizes where it leaves them open."""
    from tests.examples.cases import CROSS

    own = {n: size for n, size in case.sizes.items() if CROSS.get(n) != size}
    for length in LENGTHS:
        free = {"i": length, "j": length, "d": width, "e": width}
        yield replace(case, sizes={**free, **own})
        yield replace(
            case, sizes={**free, "j": length + 3, **own} if CROSS.items() <= case.sizes.items() else own
        )


def _call(attention: Attention, arguments: dict[str, Tensor]) -> None:
    import torch

    from attn_dsl.errors import NotLoweredError

    leaves = {n: t.requires_grad_() if t.is_floating_point() else t for n, t in arguments.items()}
    attention(**{n: t.detach() for n, t in arguments.items()})
    try:
        outputs = attention(**leaves)
    except NotLoweredError:
        return
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sums = [o.sum() for o in outputs if o.requires_grad]
    if sums:
        torch.stack(sums).sum().backward()


if __name__ == "__main__":
    main()
