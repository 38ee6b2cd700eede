"""The elements of a contribution by brute force: the reference counts the points where its body exists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from attn_dsl.ir.cascade import Cascade, Einsum, Output, Reduction
from attn_dsl.ir.expr import Const, Default, Op
from attn_dsl.reference import evaluate


def elements(
    cascade: Cascade, part: Einsum, params: Mapping[str, int | float | bool], arguments: Mapping[str, Tensor],
    sizes: Mapping[str, int],
) -> int:  # fmt: skip
    """How many elements a contribution has, over all its indices."""
    exists = Op("present", (part.body,))
    held = exists if part.where is None else Op("and", (exists, Default(part.where, Const(False))))
    counted = Einsum(
        "live elements", (), (), Reduction.SUM, (*part.dims, *part.over), Op("mul", (Const(1), held))
    )
    asked = replace(
        cascade, statements=(*cascade.statements, counted), outputs=(Output("live elements", ()),), saved=()
    )
    found = evaluate(asked, params, arguments, sizes, torch.float64)
    return int(found["live elements"])
