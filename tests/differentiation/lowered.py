"""Which examples have a gradient."""

from __future__ import annotations

from tests.examples.cases import example_names

# Ranking and keyed reductions have no kernels yet; a table read at a distance would collect from all pairs.
REFUSED = (
    "coming/block_selection",
    "coming/diagonal_sums",
    "positions/bucket_bias",
    "positions/relative_bias",
)
DIFFERENTIABLE = [name for name in example_names() if name not in REFUSED]
