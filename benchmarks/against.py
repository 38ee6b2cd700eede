"""This build beside another one: ``python -m benchmarks.against CHECKOUT [--case NAME]``.

Forward and backward of the benchmark's cases on the CPU, by two processes that take turns call by call, one
with this checkout's compiler and one with the other's, so that what the machine does meanwhile hits both
alike. Prints, for each cell, the other's median time over this one's: below 1, this build became slower.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
ROUNDS = 25


class Build:
    """A process that runs calls with the compiler of one checkout."""

    def __init__(self, checkout: Path, cache: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(checkout), "ATTN_DSL_CACHE": str(cache)}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), "--worker"], cwd=checkout, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, **request: Any) -> Any:
        """What the process answers; what went wrong there as an error."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise click.ClickException(f"the process of {self._process.args} ended")
        return json.loads(line)

    def end(self) -> None:
        """No more calls."""
        self._process.kill()
        self._process.wait()


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.argument("checkout", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--case", "chosen", multiple=True, help="By name; all where none is given.")
@click.option("--length", "lengths", multiple=True, type=int, default=(1024, 4096), show_default=True)
@click.option("--features", default=64, show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="Of measuring, for each cell.")
@click.option("--out", type=click.Path(path_type=Path), help="The cells, and the machine, as JSON.")
@click.option("--worker", is_flag=True, hidden=True)
def main(
    checkout: Path | None, chosen: tuple[str, ...], lengths: tuple[int, ...], features: int, seconds: float,
    out: Path | None, *, worker: bool,
) -> None:  # fmt: skip
    """Compare two builds."""
    if worker:
        _serve()
        return
    if checkout is None:
        raise click.UsageError("give the checkout to compare with")
    sys.path.insert(0, str(ROOT))
    from benchmarks.cases import CASES

    names = list(chosen) or [c.name for c in CASES]
    if unknown := set(names) - {c.name for c in CASES}:
        raise click.UsageError(f"there is no case {', '.join(sorted(unknown))}")
    base = Path(os.environ.get("TMPDIR", "/tmp")) / "attn_dsl_against"
    builds = {
        "here": Build(ROOT, base / "here"),
        "there": Build(checkout.resolve(), base / "there"),
    }
    cells: list[dict[str, Any]] = []
    try:
        for backward in (False, True):
            for length in lengths:
                for name in names:
                    cell = _cell(builds, name, length, features, seconds, backward)
                    cells.append(cell)
                    print(_line(cell), flush=True)
    finally:
        for build in builds.values():
            build.end()
    for backward in (False, True):
        ratios = [c["ratio"] for c in cells if c["backward"] == backward and "ratio" in c]
        if ratios:
            what = "backward" if backward else "forward"
            print(
                f"{what}: {statistics.geometric_mean(ratios):.3f} in the mean of {len(ratios)}, least {min(ratios):.3f}"
            )
    if out is not None:
        from benchmarks.__main__ import machine

        told = {"machine": machine("cpu"), "there": _commit(checkout), "cells": cells}
        out.write_text(json.dumps(told, indent=1) + "\n")


def _commit(checkout: Path) -> str:
    """What is compared with."""
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=checkout, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or checkout.name


def _cell(
    builds: dict[str, Build], name: str, length: int, features: int, seconds: float, backward: bool
) -> dict[str, Any]:
    """One case at one length, by both builds in turns."""
    cell: dict[str, Any] = {"case": name, "length": length, "backward": backward}
    for key, build in builds.items():
        answer = build.ask(prepare=name, length=length, features=features, backward=backward)
        if "refused" in answer:
            return {**cell, "refused": f"{key}: {answer['refused']}"}
    once = sum(build.ask(go=True)["seconds"] for build in builds.values())
    times: dict[str, list[float]] = {key: [] for key in builds}
    for turn in range(max(5, min(ROUNDS, int(seconds / once)))):
        for key in [*builds] if turn % 2 else [*reversed(builds)]:
            times[key].append(builds[key].ask(go=True)["seconds"])
    medians = {key: statistics.median(found) for key, found in times.items()}
    return {**cell, **medians, "ratio": medians["there"] / medians["here"]}


def _line(cell: dict[str, Any]) -> str:
    what = f"{cell['case']} {cell['length']} {'backward' if cell['backward'] else 'forward'}"
    if "refused" in cell:
        return f"{what}: {cell['refused']}"
    return f"{what}: {1e3 * cell['here']:.2f} ms here, {1e3 * cell['there']:.2f} there, {cell['ratio']:.3f}"


# one process


def _serve() -> None:
    call: Callable[[], object] = lambda: None
    for line in sys.stdin:
        request = json.loads(line)
        if "prepare" not in request:
            start = time.perf_counter()
            call()
            print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
            continue
        try:
            call = _prepared(request["prepare"], request["length"], request["features"], request["backward"])
            call()
            print("{}", flush=True)
        except Exception as error:  # noqa: BLE001  (what one build cannot do is told, not fatal)
            print(json.dumps({"refused": str(error).partition("\n")[0]}), flush=True)


def _prepared(name: str, length: int, features: int, backward: bool) -> Callable[[], object]:
    """One call of a case: forward, or the backward pass of a call that was made."""
    import torch

    import attn_dsl
    from benchmarks.cases import CASES

    (case,) = (c for c in CASES if c.name == name)
    arguments = case.arguments(length, features)
    attention = attn_dsl.compile(case.path, params=case.params)
    if not backward:
        return lambda: attention(**arguments)
    leaves = {n: t.requires_grad_() if t.is_floating_point() else t for n, t in arguments.items()}
    result = attention(**leaves)
    result = result[0] if isinstance(result, tuple) else result
    wanted = [t for t in leaves.values() if t.requires_grad]
    adjoint = torch.randn_like(result)
    return lambda: torch.autograd.grad(result, wanted, adjoint, retain_graph=True, allow_unused=True)


if __name__ == "__main__":
    main()
