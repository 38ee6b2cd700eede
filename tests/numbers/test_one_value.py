"""What a file names once has one value: an element is never greater than itself, however it is computed."""

from __future__ import annotations

import pytest
import torch

from attn_dsl.language.load import load_text
from attn_dsl.planning.comparing import compared
from attn_dsl.planning.dependence import Dependence
from tests.numbers.evaluators import EVALUATORS, evaluate

# The features are whole, since the keys need them: X would be computed anew on both sides of the comparison.
RANKED = """attention ranked
input Q[i,d], K[j,d], V[j,e], M[u,d]
index o < size(u)
Z[i,u] += Q[i,d] * M[u,d]
X[i,u]  = Z[i,u] * 0.3 + 1
rank[i,u] += X[i,o] > X[i,u]
self[i,u] += X[i,o] > X[i,u] where o == u
S[i,j] += Q[i,d] * K[j,d]
Y[i,j]  = S[i,j] where rank[i, j // 16] < 3
P[i,j]  = softmax[j](Y[i,j])
O[i,e] += P[i,j] * V[j,e]
output O[i,e], self[i,u], rank[i,u]
"""


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_no_element_is_greater_than_itself(evaluator: str) -> None:
    torch.manual_seed(0)
    q, k, v, m = torch.randn(160, 64), torch.randn(320, 64), torch.randn(320, 32), torch.randn(20, 64)
    out, itself, rank = evaluate(evaluator, RANKED, [q, k, v, m])
    scores = (q.double() @ m.double().T) * 0.3 + 1
    right = (scores[:, :, None] > scores[:, None, :]).sum(1)
    assert itself.abs().max() == 0
    assert torch.equal(rank.sort(1).values, torch.arange(20).expand(160, 20))
    seen = (right < 3).repeat_interleave(16, 1)
    wanted = torch.softmax((q.double() @ k.double().T).masked_fill(~seen, -torch.inf), -1) @ v.double()
    assert torch.allclose(out.double(), wanted, atol=1e-4)


def test_only_what_is_compared_with_itself_elsewhere_is_stored() -> None:
    assert compared(Dependence(load_text(RANKED).cascade)) == {"Z"}
    alone = RANKED.replace("X[i,o] > X[i,u]", "X[i,o] > 0")
    assert not compared(Dependence(load_text(alone).cascade))
