"""Whether a tile program is one: each value is there before it is used, and has the axes and dtype that its
operands give it."""

from __future__ import annotations

from collections.abc import Iterator

from attn_dsl.codegen.tiles.operations import (
    Apply,
    Cast,
    Choose,
    Const,
    Counted,
    Counter,
    Current,
    Dot,
    Gather,
    Lanes,
    Load,
    LoadAt,
    Reduce,
)
from attn_dsl.codegen.tiles.program import (
    Assign,
    Block,
    KernelBody,
    Loop,
    Node,
    Store,
    StoreAt,
    living_nodes,
    roots_of,
)
from attn_dsl.ir.dtypes import is_float
from attn_dsl.ir.operators import COMPARISONS

_TRUTHS = frozenset({*COMPARISONS, "and", "or", "not"})


def verified(body: KernelBody) -> KernelBody:
    """The program. AssertionError names a fault in it, which is one of the compiler's own."""
    for fault in _faults(body):
        raise AssertionError(f"the tile program is wrong: {fault}")
    return body


def _faults(body: KernelBody) -> Iterator[str]:
    living = living_nodes(body)
    states = {s.name: s for s in body.states}
    for node in living:
        yield from _node(node)
        match node.operation:
            case Current(state=name) if name not in states or states[name].axes != node.axes:
                yield f"there is no state {name} over {node.axes}"
            case _:
                pass
    for block in body.blocks:
        yield from _order(block, living)
        for item in block.items:
            match item:
                case Assign(state=state, value=value):
                    if state.axes != value.axes or state.dtype != value.dtype:
                        yield f"{state.name}: {state.dtype}{state.axes} is given {value.dtype}{value.axes}"
                case Store() | StoreAt():
                    yield from _store(item)
                case _:
                    pass
    for loop in (i for i in body.items if isinstance(i, Loop)):
        if loop.count.axes or is_float(loop.count.dtype):
            yield "the length of a loop is no number"
        if loop.condition is not None and (loop.condition.axes or loop.condition.dtype != "bool"):
            yield "the condition of a loop is no truth"


def _store(store: Store | StoreAt) -> Iterator[str]:
    places = store.places if isinstance(store, Store) else (store.offset,)
    yield from _places(places, f"a store to {store.pointer}")
    if isinstance(store, Store) and len(places) != len(store.access.strides):
        yield f"a store to {store.pointer} at {len(places)} of {len(store.access.strides)} places"
    if store.mask is not None and store.mask.dtype != "bool":
        yield f"the mask of a store to {store.pointer} is {store.mask.dtype}"
    if not store.adds and not {*store.value.axes} <= {a for p in places for a in p.axes}:
        yield f"a store to {store.pointer} of {store.value.axes} at places of fewer"


def _places(places: tuple[Node, ...], what: str) -> Iterator[str]:
    for place in places:
        if is_float(place.dtype) or place.dtype == "bool":
            yield f"{what} is at a place of {place.dtype}"


def _node(node: Node) -> Iterator[str]:
    operation = node.operation
    late = [o.operation for o in node.operands if o.block.order > node.block.order]
    if late:
        yield f"{operation} stands before its operands {late}"
    given = {axis for operand in node.operands for axis in operand.axes}
    match operation:
        case Dot(over=over):
            a, b, *accumulator = node.operands
            if {*node.axes} != given - {*over} or any(not {*over} <= {*o.axes} for o in (a, b)):
                yield f"a product of {a.axes} and {b.axes} over {over} has {node.axes}"
            if accumulator and accumulator[0].axes != node.axes:
                yield f"a product over {node.axes} is added to {accumulator[0].axes}"
        case Reduce(axis=axis):
            if axis not in given or {*node.axes} != given - {axis}:
                yield f"what is reduced along {axis} of {given} has {node.axes}"
        case Gather(axis=axis):
            source, lane = node.operands
            if axis not in source.axes or {*node.axes} != {
                *lane.axes,
                *(a for a in source.axes if a != axis),
            }:
                yield f"what is gathered along {axis} of {source.axes} at {lane.axes} has {node.axes}"
        case Load(access=access):
            count = len(access.strides)
            yield from _load(node, node.operands[:count], node.operands[count:], given)
            if len(node.operands) not in (count, count + 1):
                yield f"a load of {access.tensor} has {len(node.operands)} operands for {count} places"
        case LoadAt():
            yield from _load(node, node.operands[:1], node.operands[1:], given)
        case Const() | Current() | Lanes() | Counter():
            pass
        case _:
            yield from _lane_by_lane(node, given)


def _lane_by_lane(node: Node, given: set[str]) -> Iterator[str]:
    if not given <= {*node.axes}:
        yield f"{node.operation} of {given} has {node.axes}"
    match node.operation:
        case Choose() | Counted() if node.operands[0].dtype != "bool":
            yield f"a choice by {node.operands[0].dtype}"
        case Choose() if any(o.dtype != node.dtype for o in node.operands[1:]):
            yield f"a choice of {[o.dtype for o in node.operands[1:]]} is {node.dtype}"
        case Apply(name=name) if (name in _TRUTHS) != (node.dtype == "bool"):
            yield f"{name} is {node.dtype}"
        case Cast() if len(node.operands) != 1:
            yield "a cast of several"
        case _:
            pass


def _load(node: Node, places: tuple[Node, ...], mask: tuple[Node, ...], given: set[str]) -> Iterator[str]:
    yield from _places(places, "a load")
    if any(m.dtype != "bool" for m in mask):
        yield "the mask of a load is no truth"
    if given != {*node.axes}:
        yield f"a load at places of {given} has {node.axes}"


def _order(block: Block, living: dict[Node, None]) -> Iterator[str]:
    """In its own block, a value stands before what is made of it."""
    seen: set[Node] = set()
    for item in block.items:
        if isinstance(item, Node):
            if item in living:
                missing = [o.operation for o in item.operands if o.block is block and o not in seen]
                if missing:
                    yield f"{item.operation} stands before its operands {missing}"
            seen.add(item)
    for root in roots_of(block):
        if root.block is block and root not in seen:
            yield f"{root.operation} is used and nowhere made"


__all__ = ["verified"]
