"""Train a small language model, byte by byte, from scratch on the CPU: with a mechanism, and with SDPA beside
it.

    python examples/train_tiny_lm.py     # a learned slope in every head (ALiBi)
    python examples/train_tiny_lm.py --attention examples/normalisers/sink_logits.attn --steps 500

The text is the reference of the Python language that every Python carries (``pydoc_data.topics``, half a
megabyte); from its last tenth come 64 stretches for validation. Both models begin with the same weights and
see the same bytes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics
from statistics import median

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

import attn_dsl
from attn_dsl.ir.cascade import Input

ROOT = Path(__file__).parents[1]
LAYERS, HEADS, FEATURES, CONTEXT, BATCH, VALIDATION = 3, 4, 128, 256, 8, 64


class Mechanism(nn.Module):
    """A file as causal attention of [b, h, i, d]: the inputs beside query, key and value are learned."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        compiled = attn_dsl.compile(file)
        heads = compiled.cascade.inputs[0].axes[1:2]
        learn = {i.name: _first(i, heads) for i in compiled.cascade.inputs[3:]}
        self.attend = attn_dsl.nn.Attention(compiled, learn=learn)
        self.require_causal()

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.attend(q, k, v)

    def require_causal(self) -> None:
        """A row that saw later bytes could look up what it is to predict."""
        torch_state = torch.get_rng_state()
        q, k, v = torch.randn(3, 1, HEADS, CONTEXT, FEATURES // HEADS)
        later = torch.arange(CONTEXT)[:, None] >= CONTEXT // 2
        with torch.no_grad():
            same = self(q, k, v) == self(q, k.masked_fill(later, 1.0), v.masked_fill(later, 1.0))
        torch.set_rng_state(torch_state)  # both models shall have the same first weights
        if not same[:, :, : CONTEXT // 2].all():
            raise click.UsageError(f"{self.attend.attention.name} sees later keys; take a causal file")


def _first(declared: Input, heads: tuple[object, ...]) -> Tensor:
    if declared.axes not in ((), heads):
        raise click.UsageError(
            f"'{declared.name}' is neither a number nor one for each head; take another file"
        )
    spread = 0.5 ** torch.linspace(2, 8, HEADS)  # what ALiBi takes for slopes: 1/4, 1/16, 1/64, 1/256
    return spread if declared.axes else spread[0]


class Causal(nn.Module):
    """What torch has."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Block(nn.Module):
    """Attention, then two layers of a perceptron, each added to what it is computed from."""

    def __init__(self, attend: nn.Module) -> None:
        super().__init__()
        self.attend = attend
        self.before, self.between = nn.LayerNorm(FEATURES), nn.LayerNorm(FEATURES)
        self.qkv, self.out = nn.Linear(FEATURES, 3 * FEATURES), nn.Linear(FEATURES, FEATURES)
        self.up, self.down = nn.Linear(FEATURES, 4 * FEATURES), nn.Linear(4 * FEATURES, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.before(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(self.attend(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.between(x))))


class LanguageModel(nn.Module):
    """Bytes [b, i] to logits of the next [b, i, 256]. ``attention``: makes the attention of a layer."""

    def __init__(self, attention: partial[nn.Module]) -> None:
        super().__init__()
        self.bytes, self.places = nn.Embedding(256, FEATURES), nn.Embedding(CONTEXT, FEATURES)
        self.blocks = nn.Sequential(*(Block(attention()) for _ in range(LAYERS)))
        self.last = nn.LayerNorm(FEATURES)
        for table in (self.bytes, self.places):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, given: Tensor) -> Tensor:
        x = self.bytes(given) + self.places.weight[: given.shape[1]]
        return self.last(self.blocks(x)) @ self.bytes.weight.T


@dataclass
class Curve:
    """The loss, in bits per byte, and the seconds of each step; in the end, the loss on the text that was
    kept."""

    name: str
    losses: list[float] = field(default_factory=list)
    validation: float = float("nan")
    seconds: list[float] = field(default_factory=list)


def read_text() -> tuple[Tensor, Tensor]:
    """The bytes for training and for validation."""
    text = "\n\n".join(topics[name] for name in sorted(topics)).encode()
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    return data[: len(data) * 9 // 10], data[len(data) * 9 // 10 :]


def bits(model: nn.Module, data: Tensor, starts: Tensor) -> Tensor:
    """The loss in bits per byte on stretches of the data."""
    stretches = data[starts[:, None] + torch.arange(CONTEXT + 1)]
    logits = model(stretches[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), stretches[:, 1:].flatten()) / torch.log(torch.tensor(2.0))


def train(name: str, attention: partial[nn.Module], steps: int, seed: int, progress: Progress) -> Curve:
    """One model, from its first weights to its validation."""
    torch.manual_seed(seed)
    model, curve = LanguageModel(attention), Curve(name)
    data, kept = read_text()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    draw = torch.Generator().manual_seed(seed)
    for _ in progress.track(range(steps), description=name):
        began = time.perf_counter()
        loss = bits(model, data, torch.randint(len(data) - CONTEXT, (BATCH,), generator=draw))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.losses.append(loss.item())
        curve.seconds.append(time.perf_counter() - began)
    with torch.no_grad():
        starts = torch.linspace(0, len(kept) - CONTEXT - 1, VALIDATION).long()
        parts = [bits(model, kept, part) * len(part) for part in starts.split(BATCH)]
        curve.validation = float(sum(parts)) / len(starts)
    return curve


def draw_curves(curves: list[Curve], path: Path) -> None:
    """The losses of all models over the steps, each the mean of the ten before it."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(6.4, 3.6), layout="constrained")).add_subplot()
    for curve in curves:
        means = torch.tensor(curve.losses).unfold(0, min(10, len(curve.losses)), 1).mean(1)
        first = len(curve.losses) - len(means) + 1
        axes.plot(
            range(first, len(curve.losses) + 1),
            means,
            label=f"{curve.name}, {curve.validation:.2f} in the end",
        )
    axes.set(xlabel="step", ylabel="bits per byte")
    axes.legend(title="mechanism, and validation")
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


@click.command()
@click.option("--attention", type=click.Path(exists=True, path_type=Path), metavar="FILE", show_default=True,
              default=ROOT / "examples" / "positions" / "alibi.attn", help="The mechanism.")  # fmt: skip
@click.option("--steps", type=click.IntRange(1), default=300, show_default=True, help="Steps of each model.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of the first weights and the bytes drawn."
)
@click.option(
    "--plot", type=click.Path(path_type=Path), default="tiny_lm.png", show_default=True, help="The picture."
)
def main(attention: Path, steps: int, seed: int, plot: Path) -> None:
    """Train a small language model with a mechanism, and with SDPA beside it."""
    console = Console()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    makers = {attention.stem: partial(Mechanism, attention), "SDPA, causal": partial(Causal)}
    try:
        with Progress(*columns, console=console) as progress:
            curves = [train(name, make, steps, seed, progress) for name, make in makers.items()]
    except attn_dsl.AttnError as error:
        raise click.ClickException(str(error)) from None
    table = Table("mechanism", "training, last 20 steps", "validation", "median step")
    for curve in curves:
        last = curve.losses[-20:]
        table.add_row(
            curve.name,
            f"{sum(last) / len(last):.3f}",
            f"{curve.validation:.3f}",
            f"{median(curve.seconds):.3f} s",
        )
    console.print(table, "Losses are in bits per byte.")
    draw_curves(curves, plot)
    console.print(f"The curves are in {plot}.")


if __name__ == "__main__":
    main()
