"""What a user has instead: FlexAttention compiled, torch's fused and explicit-mask kernels, plain dense
tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import attn_dsl
from benchmarks.cases import HEADS, Case

Call = Callable[[], Tensor]
DENSE_BYTES = 3 << 30  # of score matrices that a dense peer may hold
WORST_FLOPS = 6e11  # that a peer without block sparsity may spend on a call


def implementations(
    case: Case, arguments: dict[str, Tensor], length: int, features: int, only: str | None = None
) -> dict[str, Call]:
    """Every way (or ``only`` one) to compute a case at a length, by name, ours first; what does not fit is
    left out."""
    attention = attn_dsl.compile(case.path, params=dict(case.params))
    makers: dict[str, Callable[[], Call]] = {"attn_dsl": lambda: partial(attention, *arguments.values())}
    if case.flex is not None:
        makers["flex"] = lambda: flex_call(case, arguments, length)
    if case.sdpa is not None:
        q, k, v = (arguments[n] for n in "QKV")
        causal = case.sdpa == "causal"
        makers["sdpa"] = lambda: partial(F.scaled_dot_product_attention, q, k, v, is_causal=causal)
    if (
        _is_plain(case)
        and length * length * 4 <= DENSE_BYTES
        and _dense_flops(length, features) <= WORST_FLOPS
    ):
        makers["sdpa, explicit mask"] = lambda: explicit_call(case, arguments, length)
    if HEADS * length * length * 8 <= DENSE_BYTES:
        makers["eager dense"] = lambda: eager_call(attention, arguments)
    return {name: make() for name, make in makers.items() if only in (None, name)}


def _is_plain(case: Case) -> bool:
    """Whether a case is SDPA under a mask."""
    flex = case.flex
    return flex is not None and flex.mask is not None and flex.call is None and flex.score is None


def _dense_flops(length: int, features: int) -> float:
    return 4.0 * HEADS * length * length * features


def flex_call(case: Case, arguments: dict[str, Tensor], length: int) -> Call:
    """``torch.compile(flex_attention)`` with its block mask, which is made here, outside of what is timed."""
    from torch.nn.attention.flex_attention import flex_attention

    assert case.flex is not None
    torch._dynamo.reset()
    compiled: Any = torch.compile(flex_attention, dynamic=False)
    options: dict[str, Any] = {"enable_gqa": case.key_heads != HEADS}
    if case.flex.mask is not None:
        options["block_mask"] = block_mask(case, arguments, length)
    if case.flex.score is not None:
        options["score_mod"] = case.flex.score(arguments, length)
    if case.flex.call is not None:
        call = case.flex.call
        wrapped = lambda q, k, v, **more: compiled(q, k, v, **{**options, **more})
        return lambda: call(wrapped, arguments)
    return lambda: compiled(*(arguments[n] for n in "QKV"), **options)


def block_mask(case: Case, arguments: dict[str, Tensor], length: int) -> Any:
    """FlexAttention's block mask of a case."""
    from torch.nn.attention.flex_attention import create_block_mask

    assert case.flex is not None and case.flex.mask is not None
    device = next(iter(arguments.values())).device.type
    return create_block_mask(case.flex.mask(arguments, length), None, None, length, length, device=device)


def explicit_call(case: Case, arguments: dict[str, Tensor], length: int) -> Call:
    """SDPA with the mask as a tensor."""
    assert case.flex is not None and case.flex.mask is not None
    q, k, v = (arguments[n] for n in "QKV")
    i = torch.arange(length, device=q.device)
    mask = case.flex.mask(arguments, length)(0, 0, i[:, None], i[None, :])
    return partial(
        F.scaled_dot_product_attention, q, k, v, attn_mask=mask, enable_gqa=case.key_heads != HEADS
    )


def eager_call(attention: attn_dsl.Attention, arguments: dict[str, Tensor]) -> Call:
    """The dense reference, in the inputs' precision: what plain torch operations cost."""
    return lambda: attention.reference(*arguments.values(), dtype=torch.float32)
