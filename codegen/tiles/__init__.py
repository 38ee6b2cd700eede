"""The tile program: what a kernel does, in terms that every target prints."""

from __future__ import annotations

from attn_dsl.codegen.tiles.builder import TileBuilder, named
from attn_dsl.codegen.tiles.operations import (
    Access,
    Apply,
    Argument,
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
    Operation,
    Part,
    Program,
    Reduce,
    TileSize,
)
from attn_dsl.codegen.tiles.program import (
    Assign,
    Axis,
    Block,
    Item,
    KernelBody,
    Loop,
    Node,
    Share,
    State,
    Store,
    StoreAt,
    Visits,
    living_nodes,
    roots_of,
)

__all__ = [
    "Access", "Apply", "Argument", "Assign", "Axis", "Block", "Cast", "Choose", "Const", "Counted", "Counter",
    "Current", "Dot", "Gather", "Item", "KernelBody", "Lanes", "Load", "LoadAt", "Loop", "Node", "Operation",
    "Part", "Program", "Reduce", "Share", "State", "Store", "StoreAt", "TileBuilder", "TileSize", "Visits",
    "living_nodes", "named", "roots_of",
]  # fmt: skip
