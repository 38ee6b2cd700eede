"""The plan of every example, forward and backward, as it stands: a change of the planner shows here as a difference to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from attn_dsl.cli.lowering import example_lowering, example_params
from attn_dsl.codegen.tiles.text import tile_text
from attn_dsl.differentiation import backward
from attn_dsl.errors import NotLoweredError
from attn_dsl.language.load import load_file
from attn_dsl.planning import plan
from attn_dsl.planning.binding import bind
from attn_dsl.planning.text import describe
from tests.examples.cases import EXAMPLES, example_names

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = [name for name in example_names() if not name.startswith("coming/")]
TILES = ["basic/dense", "masks/sink_window", "cache/page_table"]


def plans(name: str) -> str:
    """Both, as text."""
    cascade = load_file(EXAMPLES / f"{name}.attn").cascade
    params = example_params(cascade)
    forward = plan(cascade, params)
    text = f"{describe(forward)}\n\n---- backward\n\n"
    try:
        passes = backward(bind(cascade, forward.params, {}))
    except NotLoweredError as error:
        return f"{text}{error.diagnostics[0].message}\n"
    return f"{text}{describe(plan(passes.cascade, params, passes.presences))}\n"


@pytest.mark.parametrize("name", NAMES)
def test_the_plan(name: str, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "plans" / f"{name.replace('/', '_')}.txt", plans(name))


@pytest.mark.parametrize("name", TILES)
def test_the_tile_program(name: str, golden: Callable[[Path, str], None]) -> None:
    cascade = load_file(EXAMPLES / f"{name}.attn").cascade
    lowering = example_lowering(cascade, None, "f32", {}, "cpu", ())
    text = "\n".join(tile_text(k.text.body) for k in lowering.kernels)
    golden(GOLDEN / "tiles" / f"{name.replace('/', '_')}.txt", text)
