"""torch.export: a graph with the operator in it, at any length, here and in a process that compiles the same
file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import attn_dsl
from tests.examples.cases import EXAMPLES
from tests.runtime.called import assert_agree

ELSEWHERE = """
import sys, torch, attn_dsl
attn_dsl.compile(sys.argv[1])
program = torch.export.load(sys.argv[2])
arguments, expected = torch.load(sys.argv[3])
torch.testing.assert_close(program.module()(*arguments), expected)
print("the same")
"""


class Layer(nn.Module):
    """Projected queries, whose projection is trained."""

    def __init__(self, path: Path, features: int) -> None:
        super().__init__()
        self.project = nn.Linear(features, features, dtype=torch.float64)
        self.attention = attn_dsl.compile(path)

    def forward(self, q: Tensor, *rest: Tensor) -> Tensor:
        return self.attention(self.project(q), *rest)


def grouped(n: int) -> list[Tensor]:
    """Features as in the examples' cases, so that the programs are those of other tests."""
    shapes = ((2, 6, n, 6), (2, 2, n, 6), (2, 2, n, 5))
    return [torch.randn(shape, dtype=torch.float64) for shape in shapes]


def documents(n: int) -> list[Tensor]:
    return [*grouped(n), (torch.arange(n) // 3).to(torch.int32).expand(2, n).contiguous()]


def exported(layer: Layer, arguments: list[Tensor], strict: bool) -> torch.export.ExportedProgram:
    length = torch.export.Dim("n", min=2, max=4096)
    axes = {"q": {2: length}, "rest": tuple({1 if t.dim() == 2 else 2: length} for t in arguments[1:])}
    return torch.export.export(layer, tuple(arguments), dynamic_shapes=axes, strict=strict)


@pytest.mark.parametrize("strict", [True, False])
def test_the_graph_has_one_operator_and_no_length(strict: bool) -> None:
    layer = Layer(EXAMPLES / "masks" / "documents.attn", 6)
    program = exported(layer, documents(9), strict)
    called = [n.target for n in program.run_decompositions().graph.nodes if n.op == "call_function"]
    assert called.count(layer.attention.operator) == 1
    for n in (5, 40):
        arguments = documents(n)
        assert_agree([program.module()(*arguments)], [layer(*arguments)])


def test_a_loaded_program_can_be_trained() -> None:
    layer = Layer(EXAMPLES / "heads" / "grouped_query.attn", 6)
    arguments = grouped(9)
    module = exported(layer, arguments, True).module()
    module(*arguments).square().sum().backward()
    layer(*arguments).square().sum().backward()
    assert_agree([p.grad for p in module.parameters()], [p.grad for p in layer.parameters()])


def test_in_another_process(tmp_path: Path) -> None:
    path = EXAMPLES / "heads" / "grouped_query.attn"
    layer = Layer(path, 6)
    torch.export.save(exported(layer, grouped(9), False), tmp_path / "layer.pt2")
    loaded = torch.export.load(tmp_path / "layer.pt2")
    arguments = grouped(21)
    expected = layer(*arguments).detach()
    assert_agree([loaded.module()(*arguments).detach()], [expected])
    torch.save((arguments, expected), tmp_path / "values.pt")
    program = [sys.executable, "-W", "ignore", "-c", ELSEWHERE, str(path)]
    done = subprocess.run(
        [*program, str(tmp_path / "layer.pt2"), str(tmp_path / "values.pt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "the same", done.stderr


def test_no_argument_may_be_left_out() -> None:
    """AOTInductor passes nothing for a default that it leaves out."""
    attention = attn_dsl.compile(EXAMPLES / "basic" / "dense.attn")
    assert not any(a.has_default_value() for a in attention.operator._schema.arguments)


@pytest.mark.slow
def test_packaged_by_aot_inductor(tmp_path: Path) -> None:
    """``pytest -m slow tests/runtime/test_operators_export.py``: g++ takes half a minute for the wrapper."""
    layer, arguments = Layer(EXAMPLES / "heads" / "grouped_query.attn", 6), grouped(9)
    package = str(tmp_path / "layer.pt2")
    with torch.no_grad():
        program = torch.export.export(layer, tuple(arguments))
        torch._inductor.aoti_compile_and_package(program, package_path=package)
        assert_agree([torch._inductor.aoti_load_package(package)(*arguments)], [layer(*arguments)])
