"""What is read off a file's statements about positions, against what its reference computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import attn_dsl
from attn_dsl.runtime.attention import Attention
from attn_dsl.transformers.positions import first_counted_from_start, keys_seen, row_guards
from tests.transformers.texts import text

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = (
    "basic/cross_causal", "basic/dense", "heads/grouped_query", "masks/dilated_window", "masks/global_window",
    "masks/head_strides", "masks/sink_window", "masks/sliding_window", "masks/strided_causal", "masks/tri_shape",
    "multidim/neighbourhood_1d", "normalisers/length_scale", "normalisers/softmax_one",
)  # fmt: skip
OWN = {
    "window_from_the_end": text(where="0 <= i - size(i) - (j - size(j)) < 3"),
    "in_floor_division": text(where="j // 2 <= i // 2"),
    "in_a_product": text(score="S[b,g,r,i,j] * (i - size(i)) * 0.5", where="causal_at_end(i, j)"),
    "half_a_row": text(score="S[b,g,r,i,j] + 0.5 * i * j"),
    "size_alone": text(score="S[b,g,r,i,j] / size(i)", where="causal_at_end(i, j)"),
}
FROM_THE_END = {"basic/cross_causal", "basic/dense", "window_from_the_end", "in_a_product"}
SMALL = {"window": 3, "block": 2, "sinks": 1, "near": 1, "stride": 2, "step": 2}


def load(name: str) -> Attention:
    source = OWN[name] if name in OWN else EXAMPLES / f"{name}.attn"
    declared = {p.name for p in attn_dsl.compile(source).cascade.params}
    return attn_dsl.compile(source, params={n: v for n, v in SMALL.items() if n in declared})


def operands(rows: int, keys: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, 2, rows, 2), (1, 2, keys, 2), (1, 2, keys, 2))
    return tuple(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)  # type: ignore[return-value]


@pytest.mark.parametrize("name", (*FILES, *OWN))
def test_no_row_meets_a_key_that_it_is_not_said_to_see(name: str) -> None:
    attention = load(name)
    guards = row_guards(attention.cascade, "i", "j")
    for rows, keys in ((7, 7), (3, 7), (7, 4), (1, 5)):
        said = keys_seen(guards, attention.params, (rows, keys), torch.arange(rows))
        q, k, v = operands(rows, keys)
        before = attention.reference(q, k, v)
        for j in range(keys):
            other = v.clone()
            other[:, :, j] += 1
            met = (attention.reference(q, k, other) != before).any(-1).any(1)[0]
            assert not (met & ~said[:, j]).any()


@pytest.mark.parametrize("name", (*FILES, *OWN))
def test_the_last_rows_alone_are_those_of_the_whole_sequence_where_rows_count_from_the_end(name: str) -> None:
    attention = load(name)
    from_end = first_counted_from_start(attention.cascade, "i") is None
    assert from_end == (name in FROM_THE_END)
    q, k, v = operands(9, 9)
    whole = attention.reference(q, k, v)
    for rows in range(1, 9):
        last = attention.reference(q[:, :, -rows:], k, v)
        if from_end:
            assert torch.allclose(last, whole[:, :, -rows:], rtol=1e-13, atol=1e-13)


def test_what_a_file_leaves_to_its_data_may_be_seen() -> None:
    cascade = attn_dsl.compile(
        text("keep[b, j]: bool, first[b]: i32", "(keep[b,j] or j < first[b]) and j <= i")
    ).cascade
    seen = keys_seen(row_guards(cascade, "i", "j"), {}, (4, 4), torch.tensor([1, 3]))
    assert torch.equal(seen, torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]], dtype=torch.bool))


@pytest.mark.parametrize(
    "line",
    [
        "K2[b,g,j,d] = K[b,g,j + 1,d]",  # a key at another place than its own
        "K2[b,g,d] mean= K[b,g,j,d]",  # all keys, for all rows
    ],
)
def test_keys_that_come_round_by_another_way_are_seen(line: str) -> None:
    use = "K2[b,g,j,d]" if "j + 1" in line else "K2[b,g,d]"
    source = (
        text(where="causal(i, j)")
        .replace("S[", f"{line}\nS[", 1)
        .replace("* K[b,g,j,d]", f"* K[b,g,j,d] * {use}")
    )
    seen = keys_seen(row_guards(attn_dsl.compile(source).cascade, "i", "j"), {}, (3, 3), torch.arange(3))
    assert seen.all()
