"""``attn show``: the stages, params on the command line, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attn_dsl.cli.main import attn
from attn_dsl.language.load import load_text

WINDOW = """attention window
param w: int = 4
param on: bool = true
input Q[b, h, i, d], K[b, h, j, d], V[b, h, j, e]
S[b,h,i,j] += Q[b,h,i,d] * K[b,h,j,d]
X[b,h,i,j] = S[b,h,i,j]  where 0 <= i - j < w and on
P[b,h,i,j] = softmax[j](X[b,h,i,j])
O[b,h,i,e] += P[b,h,i,j] * V[b,h,j,e]
output O[b, h, i, e]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "window.attn"
    path.write_text(WINDOW)
    return path


def show(*arguments: object) -> Result:
    return CliRunner().invoke(attn, ["show", *map(str, arguments)])


def test_the_cascade_is_legal_text(file: Path) -> None:
    result = show(file, "--cascade")
    assert result.exit_code == 0
    assert load_text(result.output).cascade == load_text(WINDOW).cascade


def test_the_normal_form_loads_too(file: Path) -> None:
    assert load_text(show(file, "--normal").output).cascade.name == "window"


def test_passes_name_the_fold(file: Path) -> None:
    output = show(file, "--passes").output
    assert "pass 1" in output and "pass 2" not in output
    assert "follows" in output


def test_the_plan_gives_the_bounds_of_the_loop(file: Path) -> None:
    output = show(file, "--plan").output
    assert "j <= i" in output and "tested a tile" not in output


def test_stages_are_parted_by_headings_and_json_has_a_key_each(file: Path) -> None:
    output = show(file).output
    headings = [line for line in output.splitlines() if line.startswith("# ")]
    assert headings == ["# cascade", "# plan"]
    data = json.loads(show(file, "--json").output)
    assert data["name"] == "window" and set(data) >= {"cascade", "plan"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "windo=3"], "no param 'windo'; the file has w, on"),
        (["-p", "w"], "write -p name=value"),
        (["-p", "w=three"], "'w' is an integer"),
        (["-p", "w=1.5"], "'w' is an integer"),
        (["-p", "on=7"], "'on' is true or false"),
        (["--size", "z=3"], "no index 'z'"),
        (["--size", "i=-3"], "a size is an integer of 0 or more"),
        (["--dtype", "int8"], "'int8' is not one of"),
    ],
)
def test_a_wrong_value_names_itself(file: Path, arguments: list[str], message: str) -> None:
    result = show(file, *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_the_cost_is_an_account_as_text_and_as_data(file: Path) -> None:
    output = show(file, "--cost", "--size", "i=256", "--size", "j=256", "--tiles", "64x32").output
    assert "FLOP useful" in output and "passes: 1" in output and "H100" in output
    cost = json.loads(show(file, "--cost", "--backward", "--device", "A100", "--json").output)["cost"]
    assert cost["device"] == "A100" and cost["sizes"]["i"] == 4096
    assert cost["backward"]["contractions"]["useful"] > cost["forward"]["contractions"]["useful"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tiles", "64x64"], "are for --cost"),
        (["--cost", "--tiles", "64"], "write ROWSxSTREAM, as 64x32"),
        (["--cost", "--tiles", "48x64"], "both are powers of two"),
    ],
)
def test_wrong_options_of_the_cost(file: Path, arguments: list[str], message: str) -> None:
    result = show(file, *arguments)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize("stage", ["cascade", "normal", "plan", "tiles", "source"])
def test_what_each_stage_hands_on(file: Path, stage: str) -> None:
    output = show(file, "--after", stage, "--target", "cpu").output
    told = {
        "plan": "a program for each",
        "tiles": "loop ",
        "source": "extern",
        "cascade": "softmax",
        "normal": "exp2",
    }
    assert (told[stage] if stage != "cascade" else "output O") in output


def test_a_kernel_without_rows_is_one_program(tmp_path: Path) -> None:
    path = tmp_path / "loss.attn"
    path.write_text("attention loss\ninput X[b, i, d]\nL[] += X[b,i,d] * X[b,i,d]\noutput L[]\n")
    output = show(path, "--plan").output
    assert "one program; stores L\n" in output and "tile of ;" not in output
