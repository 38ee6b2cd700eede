"""Which examples have a gradient."""

from __future__ import annotations

from tests.examples.cases import example_names

# Ranking has no kernels yet.
REFUSED = ("coming/block_selection",)
DIFFERENTIABLE = [name for name in example_names() if name not in REFUSED]
