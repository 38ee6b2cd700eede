"""``python -m benchmarks.prediction``: the account's least time beside what was measured, cell by cell.

The rates of the machine are those that were measured with the results (products, copies). That of
exponentials is measured beside a product, and scaled to the results' product, unless a run before has kept
it. What matters is the order: Spearman's rank correlation over all mechanisms, lengths and feature sizes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

import attn_dsl
from attn_dsl.account.devices import Device
from attn_dsl.account.measured import from_rates
from attn_dsl.account.measured import measure as measure_rates
from attn_dsl.account.model import ProgramAccount
from attn_dsl.account.roofline import roofline
from benchmarks.cases import CASES, HEADS, Case

FOLDER = Path(__file__).parent / "results" / "cpu"


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
@click.option("--measure", is_flag=True, help="Measure the rate of exponentials anew.")
def main(folder: Path, measure: bool) -> None:
    """Write prediction.json and prediction.png beside results.json."""
    results = json.loads((folder / "results.json").read_text())
    kept = folder / "prediction.json"
    rates = {} if measure or not kept.exists() else json.loads(kept.read_text())["rates"]
    device, rates = machine(results["ceilings"], rates)
    cells = predictions(results["speed"], device)
    rho = spearman([c["predicted_s"] for c in cells], [c["measured_s"] for c in cells])
    shares = sorted(c["predicted_s"] / c["measured_s"] for c in cells)
    data = {
        "spearman": rho, "cells": len(cells), "median_share_of_bound": shares[len(shares) // 2], "rates": rates,
        "predictions": cells,
    }  # fmt: skip
    kept.write_text(json.dumps(data, indent=1) + "\n")
    draw(cells, rho, folder / "prediction.png")
    print(
        f"{len(cells)} cells: Spearman {rho:.3f}; the least time is {data['median_share_of_bound']:.0%} of the measured, median"
    )


def machine(ceilings: dict[str, float], rates: dict[str, float]) -> tuple[Device, dict[str, float]]:
    """The device that was measured, and the exponentials it does in the time of one FLOP of a product."""
    if not rates:
        here = measure_rates()
        rates = {"exponentials_a_flop": here["special"] / here["gemm"]}
    gemm = ceilings["gemm_flops"]
    special = rates["exponentials_a_flop"] * gemm
    return from_rates(gemm, gemm, gemm / 2, ceilings["copy_bytes"], special), rates


def predictions(measured: dict[str, Any], device: Device) -> list[dict[str, Any]]:
    """One entry a cell, in the order of the results."""
    cases = {case.name: case for case in CASES}
    found: list[dict[str, Any]] = []
    for key, cell in measured.items():
        name, length, features = key.split("|")
        if name in cases and "attn_dsl" in cell["timings"]:
            program = account(cases[name], int(length), int(features))
            bound = roofline(program.kernels, device)
            found.append({
                "cell": key, "predicted_s": bound.seconds, "bound": bound.bound,
                "measured_s": cell["timings"]["attn_dsl"]["median"],
            })  # fmt: skip
    return found


def account(case: Case, length: int, features: int) -> ProgramAccount:
    """The account of a cell's call, by the shapes and the integers of its own arguments."""
    attention = attn_dsl.compile(case.path, params=dict(case.params))
    arguments = case.arguments(length, features)
    from attn_dsl.runtime.sizes import bind

    sizes = bind(attention.cascade, attention.params, tuple(arguments.values()), {}).sizes
    samples = {n: t for n, t in arguments.items() if not t.is_floating_point()}
    named = {n: size for n, size in sizes.items() if not n.startswith("_")}
    forward = attention.analyze(device="cpu", dtype="f32", tensors=samples, **named).forward
    assert forward is not None and named.get("h", HEADS) == HEADS
    return forward


def spearman(a: list[float], b: list[float]) -> float:
    """Spearman's rank correlation, ties at their mean rank."""
    import numpy as np

    def ranks(values: list[float]) -> Any:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        return ((last - counts + last - 1) / 2)[inverse]

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def draw(cells: list[dict[str, Any]], rho: float, path: Path) -> None:
    """Predicted against measured, both logarithmic, a colour a mechanism."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 6))
    names = list(dict.fromkeys(c["cell"].split("|")[0] for c in cells))
    colours = plt.get_cmap("tab20")
    for at, name in enumerate(names):
        mine = [c for c in cells if c["cell"].startswith(f"{name}|")]
        axes.scatter(
            [c["predicted_s"] for c in mine], [c["measured_s"] for c in mine], s=22, label=name,
            color=colours(at % 20), marker="os^D"[at % 4],
        )  # fmt: skip
    ends = [min(c["predicted_s"] for c in cells), max(c["measured_s"] for c in cells)]
    axes.plot(ends, ends, color="grey", linewidth=1, linestyle="--")
    axes.set(xscale="log", yscale="log", xlabel="least time by the account (s)", ylabel="measured (s)")
    axes.set_title(f"Forward on a CPU: Spearman {rho:.3f} over {len(cells)} cells")
    axes.legend(fontsize=7, ncols=2, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
