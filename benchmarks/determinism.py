"""Whether every process generates the same bytes: ``python -m benchmarks.determinism [--seeds 10]``.

The source of a kernel names its entry in the cache, and the order of a set of names is another one in each
process (PYTHONHASHSEED). Every example and some random mechanisms, forward and backward, as Triton and as
C++, are generated under each seed; what differs is named, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from attn_dsl.cli.lowering import example_program
from attn_dsl.differentiation import backward
from attn_dsl.errors import AttnError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.language.load import load_text
from attn_dsl.rewrites.dead_statements import dead_statements

ROOT = Path(__file__).parents[1]
ARCHITECTURES = {"cuda:90": "bf16", "cpu": "f32"}
RANDOM_RUN = 7
Digests = Mapping[str, str]


def main() -> None:
    """Compare the seeds, print what differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--random", type=int, default=50, help="random mechanisms beside the examples")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    texts = {str(p.relative_to(ROOT)): p.read_text() for p in sorted((ROOT / "examples").rglob("*.attn"))}
    texts |= {f"random {n}": text for n, text in enumerate(random_texts(given.random))}
    found = under_seeds(texts, range(given.seeds), given.processes)
    unlike = differing(found)
    print(f"{len(texts)} files, {len(found[0])} sources, {given.seeds} seeds: {len(unlike)} differ")
    print("".join(f"  {name}\n" for name in unlike), end="")
    sys.exit(bool(unlike))


def random_texts(count: int) -> Iterator[str]:
    """The texts of random mechanisms, the same in each run."""
    from attn_dsl.testing.choices import spread
    from attn_dsl.testing.mechanisms import specification

    yield from (specification(spread(RANDOM_RUN, number)) for number in range(count))


def under_seeds(texts: Mapping[str, str], seeds: Iterable[int], processes: int = 2) -> list[Digests]:
    """The digests of all sources, as a process under each seed makes them."""
    with ThreadPoolExecutor(processes) as pool:
        return list(pool.map(partial(_in_a_process, texts), seeds))


def differing(found: Sequence[Digests]) -> list[str]:
    """The sources that are not the same everywhere."""
    return [name for name in found[0] if len({digests.get(name) for digests in found}) > 1]


def _in_a_process(texts: Mapping[str, str], seed: int) -> Digests:
    run = subprocess.run(
        [sys.executable, "-c", "from benchmarks.determinism import answer; answer()"], cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}, input=json.dumps(dict(texts)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode:
        raise RuntimeError(f"under seed {seed}: {run.stderr}")
    return json.loads(run.stdout)


def answer() -> None:
    """Read texts, write the digest of every source that they make."""
    texts: dict[str, str] = json.load(sys.stdin)
    json.dump({name: digest for at, text in texts.items() for name, digest in _digests(at, text)}, sys.stdout)


def _digests(at: str, text: str) -> Iterator[tuple[str, str]]:
    cascade = load_text(text).cascade
    for architecture, dtype in ARCHITECTURES.items():
        for direction in ("forward", "backward"):
            made = _source(cascade, architecture, dtype, direction)
            yield f"{at}, {direction}, {architecture}", hashlib.sha256(made.encode()).hexdigest()


def _source(cascade: Cascade, architecture: str, dtype: str, direction: str) -> str:
    """What is generated, or why nothing is: the refusal is to be the same too."""
    try:
        if direction == "forward":
            return example_program(cascade, dtype=dtype, architecture=architecture).source
        passes = backward(cascade)
        subject = dead_statements(passes.cascade)
        return example_program(
            subject, dtype=dtype, architecture=architecture, presences=passes.presences
        ).source
    except AttnError as error:
        return str(error)


if __name__ == "__main__":
    main()
