"""The table of dtypes: what it says is so of torch's, the targets spell every row, and nobody else names
one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attn_dsl.codegen import spelling
from attn_dsl.ir.dtypes import DTYPES, FLOATS, Kind, width
from tests.ir.test_tables import files_that_name
from tests.numbers.evaluators import EVALUATORS, evaluate, pointwise

ROOT = Path(__file__).parents[2]
SIZES = {"float": 4, "double": 8, "bool": 1}

pytestmark = pytest.mark.usefixtures("plain_builds")


@pytest.mark.parametrize("name", DTYPES)
def test_a_row_says_what_torch_says(name: str) -> None:
    row = DTYPES[name]
    kind = getattr(torch, row.torch)
    assert row.bytes == kind.itemsize
    assert kind.is_floating_point == (row.kind is Kind.REAL)
    match row.kind:
        case Kind.REAL:
            assert torch.finfo(kind).eps == 2.0 ** (1 - row.digits)
        case Kind.INTEGER:
            limits = torch.iinfo(kind)
            assert row.limits == (limits.min, limits.max)
        case Kind.BOOLEAN:
            assert row.limits == (0, 1)


def test_the_targets_spell_every_row() -> None:
    assert spelling.DTYPES.keys() == DTYPES.keys()
    for name, spelt in spelling.DTYPES.items():
        bits = re.search(r"\d+", spelt.memory)
        assert (int(bits.group()) // 8 if bits else SIZES[spelt.memory]) == width(name)


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("name", DTYPES)
def test_elements_are_read_and_written(name: str, evaluator: str) -> None:
    kind = getattr(torch, DTYPES[name].torch)
    values = torch.tensor([0, 1] if DTYPES[name].kind is Kind.BOOLEAN else [0, 1, 5, 100]).to(kind)
    found = evaluate(evaluator, pointwise({"Y": f"{name}({{a}})"}, [name], name), [values])
    assert torch.equal(found.double(), values.double())


@pytest.mark.parametrize("name", ["i16", "u8"])
def test_only_the_row_and_the_spellings_name_a_dtype(name: str) -> None:
    # Which inputs a random mechanism has is its own choice.
    found = {f for f in files_that_name(name) if "testing/mechanisms" not in f}
    assert found == {"attn_dsl/ir/dtypes.py", "codegen/spelling.py"}


def test_the_documentation_lists_the_dtypes() -> None:
    text = (ROOT / "docs" / "language.md").read_text()
    listed = max(re.findall(r"`([a-z0-9 ]+)`", text), key=lambda line: len(DTYPES.keys() & {*line.split()}))
    assert set(listed.split()) == DTYPES.keys()
    assert [d for d in listed.split() if d in FLOATS] == list(FLOATS)


ADDED = """
import torch
from attn_dsl.codegen import spelling
from attn_dsl.ir.dtypes import DTYPES, Dtype, Kind

DTYPES["u16"] = Dtype("u16", Kind.INTEGER, 2, "uint16", signed=False)
spelling.DTYPES["u16"] = spelling.DtypeSpelling("tl.uint16", "u16", "int32_t", "uint16_t")

import attn_dsl
from attn_dsl.runtime.random_inputs import random_arguments

TEXT = '''attention added
input X[i]: u16, V[j]
Y[i] = 2 * X[i]
Z[i] = u16(-3 + X[i])
S[i] += V[j] where j < X[i]
output Y[i], Z[i]: u16, S[i]
'''
x, v = torch.tensor([1, 3, 65535], dtype=torch.uint16), torch.linspace(-2, 2, 5)
for target in ("cpu", "interpreter"):
    attention = attn_dsl.compile(TEXT, target=target)
    for run in (attention, attention.reference):
        y, z, s = run(x, v)
        assert y.tolist() == [2, 6, 131070] and z.to(torch.int64).tolist() == [65534, 0, 65532]
        torch.testing.assert_close(s.float(), torch.stack([v[:1].sum(), v[:3].sum(), v.sum()]))
assert attn_dsl.compile(TEXT).source("triton", "bf16")
drawn = random_arguments(attention.cascade, {"i": 4, "j": 5}, torch.float32, torch.device("cpu"), 0)
assert drawn["X"].dtype == torch.uint16
"""


def test_a_row_and_its_spelling_are_a_dtype() -> None:
    """Declared, cast, stored and compiled for both targets."""
    done = subprocess.run([sys.executable, "-c", ADDED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
