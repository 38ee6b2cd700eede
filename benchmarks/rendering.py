"""Tables and plots from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from typing import Any

Data = Mapping[str, Any]
PEERS = ("flex", "sdpa", "sdpa, explicit mask", "eager dense")
# Okabe and Ito's colours, which the colour-blind tell apart.
COLOURS = {
    "attn_dsl": "#0072B2", "flex": "#D55E00", "sdpa": "#009E73", "sdpa, explicit mask": "#CC79A7", "eager dense": "#999999",
}  # fmt: skip
LABELS = {
    "flex": "FlexAttention (compiled)",
    "sdpa": "SDPA (fused)",
    "sdpa, explicit mask": "SDPA (mask tensor)",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One case at one length and feature size."""

    case: str
    length: int
    features: int
    flops: float
    seconds: dict[str, float]
    spread: dict[str, float]
    left_out: dict[str, str]

    def speedup(self, peer: str) -> float | None:
        """How many times faster ours is."""
        both = "attn_dsl" in self.seconds and peer in self.seconds
        return self.seconds[peer] / self.seconds["attn_dsl"] if both else None


def cells(data: Data, suite: str = "speed") -> Iterator[Cell]:
    """Every measured cell of a suite, in order."""
    for key, found in data.get(suite, {}).items():
        case, length, features = key.split("|")
        timings = found["timings"]
        seconds = {n: t["median"] for n, t in timings.items()}
        spread = {n: (t["upper"] - t["lower"]) / t["median"] / 2 for n, t in timings.items()}
        yield Cell(
            case, int(length), int(features), found["flops"], seconds, spread, found.get("left out", {})
        )


def geometric_mean(values: list[float]) -> float:
    """Their geometric mean; nan of none."""
    return exp(sum(map(log, values)) / len(values)) if values else float("nan")


def render_all(data: Data, folder: Path) -> None:
    """Write results.md and the plots into a folder."""
    (folder / "results.md").write_text("\n".join(markdown(data)) + "\n")
    speedup_plot(data, folder / "speedup.png")
    speed_plot(data, folder / "speed.png")


def markdown(data: Data) -> Iterator[str]:
    """The report as Markdown."""
    machine, ceiling = data["machine"], data["ceilings"]["gemm_flops"]
    yield f"# {machine['device']}, {machine['threads']} threads, {machine['date']}\n"
    yield f"torch {machine['torch']}, attn_dsl {machine['attn_dsl']}, Python {machine['python']}. Ceilings measured in the "
    yield f"same run: {ceiling / 1e9:.0f} GFLOP/s (torch.mm, f32), {data['ceilings']['copy_bytes'] / 1e9:.1f} GB/s (copy).\n"
    yield "Batch 1, 8 heads. Median milliseconds of interleaved calls, ± half the distance of the quartiles; useful "
    yield "GFLOP/s count live pairs only. A dash: the peer cannot express the case, or cannot run it in memory or time.\n"
    yield from _summary(data)
    yield (
        "| case | tokens | features | attn_dsl ms | GFLOP/s | of GEMM | "
        + " | ".join(f"{p} ms" for p in PEERS)
        + " | × flex |"
    )
    yield "|" + "---|" * (7 + len(PEERS))
    for cell in cells(data):
        yield _row(cell, ceiling)
    yield from _backward(data)
    yield from _long(data)
    yield from _memory(data)
    yield from _preparation(data)


def _summary(data: Data) -> Iterator[str]:
    for peer in PEERS:
        found = [(s, c) for c in cells(data) if (s := c.speedup(peer)) is not None]
        if found:
            least, cell = min(found, key=lambda f: f[0])
            where = f"{cell.case}, {cell.length} tokens, {cell.features} features"
            mean = geometric_mean([s for s, _ in found])
            yield f"- against {LABELS.get(peer, peer)}: {mean:.2f}× in the geometric mean of {len(found)} cells, least {least:.2f}× ({where})"
    yield ""


def _row(cell: Cell, ceiling: float) -> str:
    def shown(name: str) -> str:
        if name not in cell.seconds:
            return "–"
        return f"{cell.seconds[name] * 1e3:.2f} ± {cell.spread[name] * 100:.0f} %"

    rate = cell.flops / cell.seconds["attn_dsl"]
    speedup = cell.speedup("flex")
    columns = [cell.case, str(cell.length), str(cell.features), shown("attn_dsl"), f"{rate / 1e9:.0f}",
               f"{rate / ceiling * 100:.0f} %", *map(shown, PEERS), f"{speedup:.2f}" if speedup else "–"]  # fmt: skip
    return "| " + " | ".join(columns) + " |"


def _backward(data: Data) -> Iterator[str]:
    found = list(cells(data, "backward"))
    if not found:
        return
    yield "\n## Backward\n"
    yield "The backward pass alone, gradients of every floating input. FlexAttention has none on a CPU.\n"
    both = [(c, [c.seconds[p] for p in PEERS if p in c.seconds]) for c in found if "attn_dsl" in c.seconds]
    best = [(c, min(others)) for c, others in both if others]
    ratios = [peer / c.seconds["attn_dsl"] for c, peer in best]
    yield f"- against the fastest peer of each cell: {geometric_mean(ratios):.2f}× in the geometric mean of {len(ratios)} cells\n"
    peers = PEERS[1:]
    yield "| case | tokens | features | attn_dsl ms | " + " | ".join(f"{p} ms" for p in peers) + " |"
    yield "|" + "---|" * (4 + len(peers))
    for cell in found:
        shown = [f"{cell.seconds[n] * 1e3:.2f}" if n in cell.seconds else "–" for n in ("attn_dsl", *peers)]
        yield f"| {cell.case} | {cell.length} | {cell.features} | " + " | ".join(shown) + " |"


def _long(data: Data) -> Iterator[str]:
    found = list(cells(data, "long"))
    if found:
        yield "\n## Windows over long sequences\n"
        yield "| case | tokens | ms | ps per useful FLOP |"
        yield "|---|---|---|---|"
    for cell in found:
        seconds = cell.seconds["attn_dsl"]
        yield f"| {cell.case} | {cell.length} | {seconds * 1e3:.1f} | {seconds / cell.flops * 1e12:.2f} |"


def _memory(data: Data) -> Iterator[str]:
    found: dict[str, float] = data.get("memory", {})
    if not found:
        return
    lengths = sorted({int(key.split("|")[2]) for key in found})
    yield "\n## Memory\n"
    yield "MiB by which the process grows at most beyond the inputs: one head of 64 features in f32. Scores of 16,384 tokens alone would take 1,024.\n"
    yield "| mechanism | | " + " | ".join(f"{n} tokens" for n in lengths) + " |"
    yield "|" + "---|" * (2 + len(lengths))
    for name, kind in dict.fromkeys(tuple(key.split("|")[:2]) for key in found):
        row = [found.get(f"{name}|{kind}|{n}") for n in lengths]
        yield f"| {name} | {kind} | " + " | ".join("–" if mib is None else f"{mib:.1f}" for mib in row) + " |"


def _preparation(data: Data) -> Iterator[str]:
    found = data.get("preparation", {})
    if not found:
        return
    yield "\n## Getting there\n"
    for name, times in found.get("starts", {}).items():
        yield f"- {name}: text to first result {times['cold_s']:.2f} s cold, {times['warm_s']:.2f} s warm, beyond the imports ({times['import_s']:.2f} s after torch)"
    if "call" in found:
        call = found["call"]
        yield f"- the smallest call: {call['attn_dsl_us']:.1f} µs; an empty call of C: {call['empty_call_us']:.2f} µs"
    for key, times in found.get("masks", {}).items():
        case, length = key.split("|")
        yield (
            f"- the mask of {case} at {length} tokens: create_block_mask {times['create_block_mask_s']:.2f} s and "
            f"{times['create_block_mask_mib']:.0f} MiB; our kernels need none (bounds in the kernel), and their account "
            f"of its live pairs and tiles takes {times['account_s']:.3f} s and {times['account_mib']:.1f} MiB"
        )
    for name, taken in found.get("analyses", {}).items():
        yield (
            f"- the account of {name} at 1,048,576 tokens: {taken['s']:.2f} s, {taken['mib']:.0f} MiB, "
            f"{taken['live']:,} live pairs"
        )
    for key, mib in found.get("peak_mib", {}).items():
        case, length, peer = key.split("|")
        yield f"- {case} at {length} tokens: the process grows by {mib:.0f} MiB up to the first result of {peer}, its mask included"


def speedup_plot(data: Data, file: Path) -> None:
    """Bars: how many times faster than each peer, the geometric mean over lengths and feature sizes of a
    case."""
    plt = _pyplot()
    names = list(dict.fromkeys(c.case for c in cells(data)))
    peers = [p for p in ("flex", "sdpa", "sdpa, explicit mask") if any(c.speedup(p) for c in cells(data))]
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(names) + 1.6), layout="constrained")
    height = 0.8 / max(len(peers), 1)
    for place, peer in enumerate(peers):
        for at, name in enumerate(names):
            found = [s for c in cells(data) if c.case == name and (s := c.speedup(peer)) is not None]
            if found:
                y = at + (place - (len(peers) - 1) / 2) * height
                axes.barh(
                    y, geometric_mean(found), height, color=COLOURS[peer], label=peer if at == 0 else None
                )
                axes.text(geometric_mean(found), y, f" {geometric_mean(found):.1f}×", va="center", fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10], ["1×", "2×", "5×", "10×"])
    axes.minorticks_off()
    axes.set_xlabel("times faster than the peer (geometric mean over lengths and feature sizes)")
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[p]) for p in peers]
    axes.legend(handles, [LABELS.get(p, p) for p in peers], fontsize=8)
    axes.set_title(_title(data))
    figure.savefig(file, dpi=130)
    plt.close(figure)


def speed_plot(data: Data, file: Path) -> None:
    """Lines: useful GFLOP/s against length, a panel a case, at 64 features."""
    plt = _pyplot()
    names = list(dict.fromkeys(c.case for c in cells(data)))
    columns = 4
    rows = -(-len(names) // columns) or 1
    figure, panels = plt.subplots(
        rows, columns, figsize=(12, 2.4 * rows), sharex=True, squeeze=False, layout="constrained"
    )
    for panel in panels.flat[len(names) :]:
        panel.set_visible(False)
    for panel, name in zip(panels.flat, names, strict=False):
        for kind, colour in COLOURS.items():
            found = [(c.length, c.flops / c.seconds[kind] / 1e9) for c in cells(data)
                     if c.case == name and c.features == 64 and kind in c.seconds]  # fmt: skip
            if found:
                panel.plot(
                    *zip(*found, strict=True),
                    marker="o",
                    markersize=3,
                    color=colour,
                    label=LABELS.get(kind, kind),
                )
        panel.set_xscale("log", base=2)
        panel.set_title(name, fontsize=9)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    figure.supxlabel("tokens")
    figure.supylabel("useful GFLOP/s, 64 features")
    shown = {}
    for panel in panels.flat:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=len(shown) or 1, fontsize=8)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _title(data: Data) -> str:
    machine = data["machine"]
    return f"{machine['device']}, {machine['threads']} threads, {machine['date']}"


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
