"""Whether a tile program is one: each value is there before it is used, and has the axes that its operands give it."""

from __future__ import annotations

from collections.abc import Iterator

from attn_dsl.codegen.tiles import Assign, Block, KernelBody, Loop, Node, Store, living_nodes, roots_of

_NOT_POINTWISE = frozenset(
    {"dot", "reduce", "gather", "arange", "state", "counter", "counted", "uniform", "load"}
)


def verified(body: KernelBody) -> KernelBody:
    """The program. AssertionError names a fault in it, which is one of the compiler's own."""
    for fault in _faults(body):
        raise AssertionError(f"the tile program is wrong: {fault}")
    return body


def _faults(body: KernelBody) -> Iterator[str]:
    living = living_nodes(body)
    for node in living.values():
        yield from _node(node)
    for block in _blocks(body):
        yield from _order(block, living)
        for item in block.items:
            match item:
                case Assign(state=state, value=value):
                    if state.axes != value.axes or state.dtype != value.dtype:
                        yield f"{state.name}: {state.dtype}{state.axes} is given {value.dtype}{value.axes}"
                case Store(tensor=tensor, offset=offset, value=value, mask=mask, adds=adds):
                    if mask is not None and mask.dtype != "bool":
                        yield f"the mask of a store to {tensor} is {mask.dtype}"
                    if not adds and not {*value.axes} <= {*offset.axes}:
                        yield f"a store to {tensor} of {value.axes} at places of {offset.axes}"
                case _:
                    pass
    for loop in (i for i in body.items if isinstance(i, Loop)):
        if loop.count.axes:
            yield "the length of a loop is a tile"
        if loop.condition is not None and (loop.condition.axes or loop.condition.dtype != "bool"):
            yield "the condition of a loop is no truth"


def _node(node: Node) -> Iterator[str]:
    late = [o.operation for o in node.operands if o.block.order > node.block.order]
    if late:
        yield f"{node.operation} stands before its operands {late}"
    given = {axis for operand in node.operands for axis in operand.axes}
    match node.operation:
        case "dot":
            if {*node.axes} != given - {*node.attributes[0]}:
                yield f"a product of {given} over {node.attributes[0]} has {node.axes}"
        case "reduce":
            (operand,) = node.operands
            axis = operand.axes[node.attributes[1]]
            if {*node.axes} != {*operand.axes} - {axis}:
                yield f"what is reduced along {axis} of {operand.axes} has {node.axes}"
        case "where" if node.operands[0].dtype != "bool":
            yield f"a choice by {node.operands[0].dtype}"
        case operation if operation not in _NOT_POINTWISE and node.operands and not given <= {*node.axes}:
            yield f"{operation} of {given} has {node.axes}"
        case _:
            pass


def _order(block: Block, living: dict[int, Node]) -> Iterator[str]:
    """In its own block, a value stands before what is made of it."""
    seen: set[int] = set()
    for item in block.items:
        if isinstance(item, Node):
            if id(item) in living:
                missing = [o.operation for o in item.operands if o.block is block and id(o) not in seen]
                if missing:
                    yield f"{item.operation} stands before its operands {missing}"
            seen.add(id(item))
    for root in roots_of(block):
        if root.block is block and id(root) not in seen:
            yield f"{root.operation} is used and nowhere made"


def _blocks(body: KernelBody) -> Iterator[Block]:
    for item in body.items:
        yield from (item.prepare, item.body) if isinstance(item, Loop) else (item,)
