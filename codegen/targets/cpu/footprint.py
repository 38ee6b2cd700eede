"""How much memory the tiles of a kernel take at once: they lie on the stack of a thread, and should stay in
its second-level cache."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from attn_dsl.codegen.targets.cpu.items import Begin, Compute, Items, Product, Reduce
from attn_dsl.codegen.targets.cpu.nests import Arrangement
from attn_dsl.codegen.tiles import Block, Dot, KernelBody, Loop, Node
from attn_dsl.codegen.tiles import Reduce as TileReduce
from attn_dsl.codegen.tiles.addresses import addressed
from attn_dsl.ir.dtypes import width

_LEAST = 4  # bytes of a lane: values are computed in no fewer


def stack_bytes(body: KernelBody, lanes: Mapping[str, int]) -> int:
    """Bytes of the arrays that are alive at once. ``lanes``: of every axis, in canonical order."""
    arrangement = Arrangement(Items(addressed(body, tuple(lanes))), tuple(lanes))

    def size(axes: tuple[str, ...], dtype: str) -> int:
        return prod(lanes[a] for a in axes) * max(width(dtype), _LEAST) if axes else 0

    def of_block(block: Block) -> int:
        items = (item for nest in arrangement.nests[block] for item in nest.items)
        nodes = dict.fromkeys(i.node for i in items if isinstance(i, (Begin, Compute, Product, Reduce)))
        return sum(size(n.axes, n.dtype) for n in nodes if _has_array(n, arrangement))

    found = {block.order: of_block(block) for block in arrangement.items.blocks}
    straight = sum(found[i.order] for i in body.items if isinstance(i, Block))
    loops = (found[i.prepare.order] + found[i.body.order] for i in body.items if isinstance(i, Loop))
    return sum(size(s.axes, s.dtype) for s in body.states) + straight + max(loops, default=0)


def _has_array(node: Node, arrangement: Arrangement) -> bool:
    if node in arrangement.in_state:
        return False
    return node in arrangement.stored or isinstance(node.operation, TileReduce | Dot)
