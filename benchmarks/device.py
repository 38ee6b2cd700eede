"""Every example on a GPU, against its meaning: ``python -m benchmarks.device --values [--dry] [NAME...]``.

Each example runs forward and backward in bf16 and f32 on the GPU; every element of every result and gradient
is held to the reference, which runs in f64 on the same device, within bounds derived from the data
(``attn_dsl.testing``). First all examples with 259 tokens and 64 features, then, while there is time, with
random sizes, layouts and values. Results go to ``benchmarks/results/DEVICE/values.json``.

``--dry`` needs no GPU: it compiles the kernels, forward and backward, for Hopper (cuda:90).

On a machine without network: carry the wheels of what is missing there (of this project's dependencies mostly
lark and platformdirs), ``pip install --no-index --no-deps --target DIR *.whl``, then with DIR and the
repository's root on PYTHONPATH. Nothing else is needed beside torch >= 2.6 and Triton >= 3.6.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from attn_dsl.runtime.attention import Attention

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
DTYPES = ("bf16", "f32")
# One example's kernels may take long to compile; a process that says nothing for so long is ended.
SILENCE = 120
ONE_SCHEDULE = {"row_tile": 32, "stream_tile": 32, "num_warps": 4, "num_stages": 2}


@dataclass(frozen=True, slots=True)
class Task:
    """One example in one dtype. ``draw``: 0 for the long sizes, else the number of a random example."""

    name: str
    dtype: str
    draw: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """``forward`` and ``backward``: empty where all agreed, else what was wrong; ``refused`` where there is
    no kernel."""

    name: str
    dtype: str
    draw: int
    forward: str
    backward: str
    refused: str = ""
    seconds: float = 0.0
    poisoned: bool = False

    @property
    def wrong(self) -> str:
        """What was wrong, in all."""
        return "\n".join(part for part in (self.forward, self.backward) if part)


@click.command(help=(__doc__ or "").split("\n\n")[0])
@click.argument("names", nargs=-1)
@click.option("--values", is_flag=True, help="Compare results and gradients with the reference.")
@click.option("--dry", is_flag=True, help="Compile for cuda:90 only: no GPU is needed.")
@click.option("--minutes", default=4.0, show_default=True, help="Start nothing after so long.")
@click.option("--jobs", default=0, help="Processes at once; by default one a core, less one.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where results go; by default the device's folder."
)
@click.option("--worker", is_flag=True, hidden=True)
def main(
    names: tuple[str, ...], minutes: float, jobs: int, out: Path | None, *, values: bool, dry: bool, worker: bool
) -> None:  # fmt: skip
    """Run the check."""
    if worker:
        serve(dry=dry)
        return
    if not values:
        raise click.UsageError("say --values: every example against the reference")
    chosen = list(names) or examples()
    if unknown := [n for n in chosen if not (EXAMPLES / f"{n}.attn").exists()]:
        raise click.UsageError(f"there is no example {', '.join(unknown)}; one is {examples()[0]}")
    import os

    start = time.monotonic()
    found: list[Outcome] = []
    summary = "nothing was reached"
    for outcome in shown(run(chosen, dry, start + 60 * minutes, jobs or max(1, (os.cpu_count() or 2) - 1))):
        found.append(outcome)
        summary = write(
            found, chosen, dry, out, time.monotonic() - start
        )  # at each, should the run be cut short
    print(summary)
    raise SystemExit(1 if any(o.wrong for o in found) else 0)


def examples() -> list[str]:
    """Every example that has kernels."""
    files = (f.relative_to(EXAMPLES).with_suffix("").as_posix() for f in sorted(EXAMPLES.rglob("*.attn")))
    return [name for name in files if not name.startswith("coming/")]


def tasks(names: list[str], dry: bool) -> Iterator[Task]:
    """The long sizes in every dtype first, then random ones without end."""
    for draw in [0] if dry else count():
        for dtype in DTYPES:
            yield from (Task(name, dtype, draw) for name in names)


# the processes


def run(names: list[str], dry: bool, deadline: float, jobs: int) -> Iterator[Outcome]:
    """Outcomes as they come, from as many processes; one that dies is replaced, and its task has failed."""
    pending, results = tasks(names, dry), SimpleQueue[Outcome | None]()
    taking = Lock()  # a generator may not be asked by two threads at once

    def taken() -> Task | None:
        with taking:
            return next(pending, None) if time.monotonic() < deadline else None

    def work() -> None:
        process: subprocess.Popen[str] | None = None
        try:
            while (task := taken()) is not None:
                process = process if process is not None and process.poll() is None else _started(dry)
                outcome = _asked(process, task)
                results.put(outcome)
                if outcome.poisoned:
                    _ended(process)
        finally:
            if process is not None:
                _ended(process)
            results.put(None)

    with ThreadPoolExecutor(jobs) as pool:
        for _ in range(jobs):
            pool.submit(work)
        running = jobs
        while running:
            try:
                outcome = results.get(timeout=1.0)
            except Empty:
                continue
            if outcome is None:
                running -= 1
            else:
                yield outcome


def _started(dry: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.device", "--worker", *(["--dry"] if dry else [])]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )


def _ended(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def _asked(process: subprocess.Popen[str], task: Task) -> Outcome:
    assert process.stdin is not None and process.stdout is not None
    died = Outcome(task.name, task.dtype, task.draw, "the process died", "", poisoned=True)
    with ThreadPoolExecutor(1) as pool:
        try:
            process.stdin.write(json.dumps(asdict(task)) + "\n")
            process.stdin.flush()
            line = pool.submit(process.stdout.readline).result(SILENCE)
        except TimeoutError:
            process.kill()  # which ends the reading too
            return Outcome(task.name, task.dtype, task.draw, f"no answer in {SILENCE} s", "", poisoned=True)
        except OSError:
            return died
    return Outcome(**json.loads(line)) if line else died


# one process


def serve(*, dry: bool) -> None:
    """Answer tasks, a line of JSON each, until there are no more."""
    for line in sys.stdin:
        task = Task(**json.loads(line))
        begun = time.monotonic()
        outcome = compiled(task) if dry else judged(task)
        seconds = round(time.monotonic() - begun, 2)
        print(json.dumps({**asdict(outcome), "seconds": seconds}), flush=True)


def compiled(task: Task) -> Outcome:
    """The kernels of an example, forward and backward, for Hopper."""
    import attn_dsl
    from attn_dsl.runtime.sizes import DTYPES as TORCH

    attention = attn_dsl.compile(EXAMPLES / f"{task.name}.attn", schedule=attn_dsl.Schedule(**ONE_SCHEDULE))
    reports: list[str] = []
    refused = ""
    for backward in (False, True):
        try:
            attention.lower("cuda:90", dtype=TORCH[task.dtype], backward=backward)
            reports.append("")
        except attn_dsl.NotLoweredError as error:
            reports.append("")
            refused = error.diagnostics[0].message
        except Exception as error:  # noqa: BLE001  (a compiler may fail in any way)
            reports.append(f"{type(error).__name__}: {error}")
    return Outcome(task.name, task.dtype, task.draw, *reports, refused)


def judged(task: Task) -> Outcome:
    """Results and gradients of an example on the GPU, against the reference. In bf16 with the schedule that a
    user gets, which is searched for; else with one that takes one compilation."""
    import torch

    import attn_dsl
    from attn_dsl.testing.checking import judge
    from attn_dsl.testing.choices import spread
    from attn_dsl.testing.gradients import judge_gradients
    from attn_dsl.testing.strategies import Limits, make_example

    schedule = None if task.dtype == "bf16" else attn_dsl.Schedule(**ONE_SCHEDULE)
    attention = attn_dsl.compile(EXAMPLES / f"{task.name}.attn", schedule=schedule)
    limits = Limits((task.dtype,), device="cuda")
    sizes = None if task.draw else long_sizes(attention)
    example = make_example(attention.cascade, attention.params, spread(0, task.draw), limits, sizes)
    reports: list[str] = []
    refused = ""
    for judging in (judge, judge_gradients):
        try:
            report = judging(attention, example).report
        except attn_dsl.NotLoweredError as error:
            report, refused = "", error.diagnostics[0].message
        except Exception as error:  # noqa: BLE001  (a generated kernel may fail in any way)
            report = f"{type(error).__name__}: {error}"
        reports.append(f"{report}\n{example}" if report else "")
    torch.cuda.empty_cache()  # other processes share the device
    text = "".join(reports)
    poisoned = "CUDA error" in text or "Triton Error" in text
    return Outcome(task.name, task.dtype, task.draw, *reports, refused, poisoned=poisoned)


def long_sizes(attention: Attention) -> dict[str, int]:
    """Several tiles of rows and keys, the last ones cut; 64 features; tables by distance for these
    lengths."""
    from attn_dsl.testing.choices import spread
    from attn_dsl.testing.sizes import Role, complete_sizes, index_sizes, roles

    cascade, params = attention.cascade, attention.params
    wanted = {Role.BATCH: 2, Role.MEMBER: 2, Role.LENGTH: 259, Role.FEATURE: 64, Role.TABLE: 8}
    known = {n: 517 if n.startswith("_") else wanted[role] for n, role in roles(cascade).items()}
    found = complete_sizes(known, cascade, params)
    drawn = index_sizes(cascade, params, spread(0, 0), 130, 192, 1 << 21)
    return {name: found.get(name, size) for name, size in drawn.items()}


# what is said


def shown(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """Each outcome that failed as it comes, and a count on a terminal."""
    for number, outcome in enumerate(outcomes, 1):
        if outcome.wrong:
            print(f"---- {outcome.name}, {outcome.dtype}, draw {outcome.draw}\n{outcome.wrong}\n", flush=True)
        elif sys.stderr.isatty():
            print(f"\r{number} done", end="", file=sys.stderr)
        yield outcome


def write(found: list[Outcome], names: list[str], dry: bool, out: Path | None, seconds: float) -> str:
    """The results as JSON (but for a dry run without ``out``), and a summary."""
    reached = {(o.name, o.dtype) for o in found}
    missed = [f"{n} {d}" for d in DTYPES for n in names if (n, d) not in reached]
    wrong = sorted({f"{o.name} {o.dtype}" for o in found if o.wrong})
    refused = sorted({o.name for o in found if o.refused})
    facts = {
        **({"device": "none: compiled for cuda:90"} if dry else device()),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds),
        "calls": len(found),
        "wrong": wrong,
        "without_gradient": refused,
        "not_reached": missed,
        "cells": [
            {k: v for k, v in asdict(o).items() if k != "poisoned"}
            for o in sorted(found, key=lambda o: (o.name, o.dtype, o.draw))
        ],
    }
    folder = str(facts["device"]).replace(" ", "_")
    file = out or (None if dry else ROOT / "benchmarks" / "results" / folder / "values.json")
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(facts, indent=1) + "\n")
    what = "compiled" if dry else "agreed with the reference, forward and backward"
    good = sum(not o.wrong for o in found)
    lines = [f"{good} of {len(found)} calls {what}, of {len(names)} examples, in {seconds:.0f} s"]
    lines += [f"wrong: {', '.join(wrong)}"] if wrong else []
    lines += [f"without a gradient: {', '.join(refused)}"] if refused else []
    lines += [f"not reached: {', '.join(missed)}"] if missed else []
    return "\n".join(lines)


def device() -> dict[str, str]:
    """The GPU and the versions."""
    import torch
    import triton

    from attn_dsl.version import __version__

    return {
        "device": torch.cuda.get_device_name(),
        "attn_dsl": __version__,
        "torch": torch.__version__,
        "triton": triton.__version__,
    }


if __name__ == "__main__":
    main()
