"""A target is one folder and one line: what makes it is data, and nothing else asks which it is."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from attn_dsl.cli.lowering import example_lowering, example_program
from attn_dsl.codegen import targets
from attn_dsl.codegen.kernel_text import KernelText
from attn_dsl.codegen.schedule import Schedule
from attn_dsl.codegen.schedule.search import Candidate, Demand
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.codegen.targets.machine import Machine
from attn_dsl.codegen.targets.target import Target
from attn_dsl.codegen.tiles.text import tile_text
from attn_dsl.errors import ArgumentError
from attn_dsl.language.load import load_file
from attn_dsl.planning import ProgramPlan

ROOT = Path(__file__).parents[2]


def paper(architecture: str) -> Target:
    """A machine that is read: tiles of 4 rows and 8 keys, and the tile program as its source."""

    def emit(plan: ProgramPlan, spec: Specialisation, kernels: Sequence[KernelText]) -> str:
        return f"{architecture}: {plan.cascade.name}\n" + "\n".join(tile_text(k.body) for k in kernels)

    def candidates(demand: Demand) -> tuple[Candidate, ...]:
        return (Candidate(Schedule(4, 8, 1, 1), 1, 1, lambda shape: True),)

    machine = Machine(pads=False, widens=True, double_products=True, skips=True, parts=True)
    return Target(machine, "a page", candidates, (), False, lambda name: name == "S", emit)


@pytest.fixture
def on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("attn_dsl.codegen.targets.paper.target")
    setattr(module, "target", paper)  # noqa: B010
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(targets._TARGETS, "paper", "paper")  # type: ignore[attr-defined]
    targets.target_of.cache_clear()


@pytest.mark.usefixtures("on_paper")
def test_a_new_target_is_data() -> None:
    (example,) = (ROOT / "examples").rglob("sliding_window.attn")
    cascade = load_file(example).cascade
    program = example_program(cascade, None, "f32", {}, "paper:a4")
    assert program.source.startswith("paper:a4: sliding_window\n")
    assert "load K[b, g, j, d]" in program.source and "every element counts" in program.source
    (kernel,) = example_lowering(cascade, None, "f32", {}, "paper:a4", ()).kernels
    assert kernel.tiles.rows == (("i", 4),) and kernel.tiles.streams == {"j": 8}
    assert "S_" in kernel.text.namer.texts.values()


def test_an_unknown_architecture_is_told() -> None:
    with pytest.raises(ArgumentError, match="there is no architecture 'abacus'"):
        targets.target_of("abacus")


def test_only_targets_and_the_run_time_name_architectures() -> None:
    """The rest of the compiler asks a target's machine."""
    naming = re.compile(r'architecture[^\n]*(==|!=|startswith)|"(cuda|hip|interpreter)[":]')
    folders = (
        "codegen/lowering",
        "codegen/tiles",
        "codegen/schedule",
        "attn_dsl/planning",
        "attn_dsl/analysis",
    )
    files = [p for folder in folders for p in (ROOT / folder).rglob("*.py")]
    files += [p for p in (ROOT / "codegen").glob("*.py")]
    assert files and not [str(p) for p in files if naming.search(p.read_text())]
