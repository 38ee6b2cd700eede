"""``python -m benchmarks``: our kernels beside what a user has instead, in one process, correct before they
are timed."""

from __future__ import annotations

import json
import platform
import sys
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

import attn_dsl
from benchmarks.cases import CASES, Case
from benchmarks.memory import memory
from benchmarks.peers import implementations
from benchmarks.preparation import analyses, masks, preparation
from benchmarks.timing import ceilings, interleaved

RESULTS = Path("benchmark-results")  # of whoever measures; those of the repository are named with --out
LENGTHS = (128, 512, 1024, 4096, 16384)
LONG = (65536, 262144)  # for what is linear in the length, and only ours


@click.command()
@click.option("--device", default="cpu", type=click.Choice(["cpu", "cuda"]), show_default=True)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    type=click.Choice(["speed", "backward", "long", "memory", "preparation", "masks"]),
    help="Default: all.",
)
@click.option("--case", "names", multiple=True, help="Only these cases.")
@click.option("--length", "lengths", multiple=True, type=int, help="Only these lengths.")
@click.option("--features", multiple=True, type=int, help="Only these feature sizes (64, 128).")
@click.option("--dtype", default=None, help="f32 (default on a CPU), bf16 (default on a GPU).")
@click.option(
    "--out", type=click.Path(path_type=Path), default=None, help="Default: benchmark-results/DEVICE."
)
@click.option("--render", is_flag=True, help="Only draw tables and plots anew.")
def main(
    device: str, suites: tuple[str, ...], names: tuple[str, ...], lengths: tuple[int, ...],
    features: tuple[int, ...], dtype: str | None, out: Path | None, render: bool,
) -> None:  # fmt: skip
    """Measure, and write results.json, results.md and plots."""
    from benchmarks.rendering import render_all

    unknown = [name for name in names if name not in {c.name for c in CASES}]
    if unknown:
        known = ", ".join(c.name for c in CASES)
        raise click.BadParameter(f"no case '{unknown[0]}'; there are: {known}", param_hint="--case")
    folder = out or RESULTS / device
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "results.json"
    data: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if not render:
        wanted = [c for c in CASES if not names or c.name in names]
        kind = {"f32": torch.float32, "bf16": torch.bfloat16}[
            dtype or ("bf16" if device == "cuda" else "f32")
        ]
        chosen = suites or ("speed", "backward", "long", "memory", "preparation")
        if not {*chosen} <= {"masks", "memory"}:  # which stand beside what was measured before
            data["machine"] = machine(device)
            data["ceilings"] = ceilings(device)
        if "speed" in chosen:
            speed(wanted, lengths or LENGTHS, features or (64, 128), kind, device, data, file)
        if "backward" in chosen:
            backward(wanted, lengths or (512, 1024, 4096), features or (64, 128), kind, device, data, file)
        if "long" in chosen:
            long_windows(wanted, lengths or (4096, *LONG), kind, device, data)
        if "memory" in chosen:
            data["memory"] = memory()
        if "preparation" in chosen:
            data["preparation"] = preparation(device)
        elif "masks" in chosen:  # a part of the preparation
            data.setdefault("preparation", {}).update(masks=masks(), analyses=analyses())
        file.write_text(json.dumps(data, indent=1) + "\n")
    render_all(data, folder)


def machine(device: str) -> dict[str, Any]:
    """What was measured on, with what, and when."""
    model = next(
        (x.split(":")[1].strip() for x in _cpuinfo() if x.startswith("model name")), platform.processor()
    )
    name = torch.cuda.get_device_name() if device == "cuda" else model
    return {
        "device": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "attn_dsl": attn_dsl.__version__,
        "python": platform.python_version(), "date": date.today().isoformat(),
    }  # fmt: skip


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def speed(
    cases: list[Case], lengths: tuple[int, ...], features: tuple[int, ...], dtype: torch.dtype, device: str,
    data: dict[str, Any], file: Path,
) -> None:  # fmt: skip
    """Every case at every length and feature size; written after each, so that a break loses nothing."""
    cells: dict[str, Any] = data.setdefault("speed", {})
    for case in cases:
        for length in case.only or lengths:
            for size in (f for f in features if f in case.features):
                if length in lengths:
                    cells[f"{case.name}|{length}|{size}"] = cell(case, length, size, dtype, device)
                    file.write_text(json.dumps(data, indent=1) + "\n")


@torch.no_grad()
def cell(case: Case, length: int, features: int, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """One case at one length: what agrees is timed, what does not is told."""
    arguments = {n: t.to(device) for n, t in case.arguments(length, features, dtype).items()}
    calls = implementations(case, arguments, length, features)
    wrong: dict[str, str] = {}
    ours = calls["attn_dsl"]()
    tolerance = 2e-4 if dtype == torch.float32 else 4e-2
    for name in list(calls):
        try:
            difference = (calls[name]().float() - ours.float()).abs().max().item()
            if not difference <= tolerance * max(1.0, ours.float().abs().max().item()):
                wrong[name] = f"differs by {difference:.1e}"
        except Exception as error:  # noqa: BLE001  (whatever a peer raises is its answer)
            wrong[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
        if name in wrong:
            del calls[name]
    timings = interleaved(calls, device)
    flops = case.flops(length, features)
    line = ", ".join(f"{n} {t.median * 1e3:.2f} ms" for n, t in timings.items())
    print(
        f"{case.name}, {length} tokens, {features} features: {line} {wrong or ''}",
        file=sys.stderr,
        flush=True,
    )
    return {"flops": flops, "timings": {n: t.to_dict() for n, t in timings.items()}, "left out": wrong}


def backward(
    cases: list[Case], lengths: tuple[int, ...], features: tuple[int, ...], dtype: torch.dtype, device: str,
    data: dict[str, Any], file: Path,
) -> None:  # fmt: skip
    """The backward pass of every case that has one."""
    cells: dict[str, Any] = data.setdefault("backward", {})
    for case in cases:
        for length in [n for n in case.only or lengths if n in lengths]:
            for size in (f for f in features if f in case.features):
                cells[f"{case.name}|{length}|{size}"] = backward_cell(case, length, size, dtype, device)
                file.write_text(json.dumps(data, indent=1) + "\n")


def backward_cell(case: Case, length: int, features: int, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """One case at one length: the gradients of its floating inputs, from the same adjoint; the forward pass
    is not timed."""
    arguments = {n: t.to(device) for n, t in case.arguments(length, features, dtype).items()}
    leaves = [t.requires_grad_() for t in arguments.values() if t.is_floating_point()]
    calls: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    expected: list[torch.Tensor] | None = None
    for name, call in implementations(case, arguments, length, features).items():
        try:
            output = call()
            output = output.to(dtype)
            adjoint = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
            calls[name] = partial(
                torch.autograd.grad, output, leaves, adjoint, retain_graph=True, allow_unused=True
            )
            found = [torch.zeros(()) if g is None else g.float() for g in calls[name]()]
        except Exception as error:  # noqa: BLE001  (whatever a peer raises is its answer)
            wrong[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
            calls.pop(name, None)
            continue
        expected = expected or found
        worst = max(
            float((a - b).abs().max() / (1 + b.abs().max())) for a, b in zip(found, expected, strict=True)
        )
        if not worst <= (1e-3 if dtype == torch.float32 else 5e-2):
            wrong[name] = f"differs by {worst:.1e}"
            del calls[name]
    timings = interleaved(calls, device)
    line = ", ".join(f"{n} {t.median * 1e3:.2f} ms" for n, t in timings.items())
    print(
        f"backward of {case.name}, {length} tokens, {features} features: {line} {wrong or ''}",
        file=sys.stderr,
        flush=True,
    )
    flops = 2.5 * case.flops(length, features)
    return {"flops": flops, "timings": {n: t.to_dict() for n, t in timings.items()}, "left out": wrong}


@torch.no_grad()
def long_windows(
    cases: list[Case], lengths: tuple[int, ...], dtype: torch.dtype, device: str, data: dict[str, Any]
) -> None:
    """Time per useful FLOP of windows, which should not depend on the length."""
    cells: dict[str, Any] = data.setdefault("long", {})
    for case in (c for c in cases if c.name.startswith(("window", "sink +"))):
        for length in lengths:
            arguments = {n: t.to(device) for n, t in case.arguments(length, 64, dtype).items()}
            attention = attn_dsl.compile(case.path, params=dict(case.params))
            timing = interleaved({"attn_dsl": lambda a=attention, x=arguments: a(*x.values())}, device)[
                "attn_dsl"
            ]
            flops = case.flops(length, 64)
            cells[f"{case.name}|{length}|64"] = {"flops": flops, "timings": {"attn_dsl": timing.to_dict()}}
            print(f"{case.name}, {length} tokens: {timing.median * 1e3:.1f} ms", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
