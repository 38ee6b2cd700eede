"""What the lowering of one kernel knows: the cascade, the part of each index, the tiles, the arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from attn_dsl.analysis.presence import total_body
from attn_dsl.analysis.widths import Widths
from attn_dsl.codegen.machine import Machine
from attn_dsl.codegen.naming import Namer, joint_axis
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.program import DIGITS, PARTS, Argument, ArgumentSource, Buffer
from attn_dsl.codegen.tiles import Block, Node, State, TileBuilder
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.expr import Const, Expr
from attn_dsl.ir.printer import print_statement
from attn_dsl.planning.dependence import Dependence
from attn_dsl.planning.partition import KernelPlan
from attn_dsl.planning.plan import ProgramPlan
from attn_dsl.planning.roles import Roles

TRUE = Const(True)
COMMENT_COLUMNS = 90


@dataclass(frozen=True, slots=True)
class Tiles:
    """Lanes of each tiled index (``BLOCK_I``) and padded extent of each whole one, powers of two. ``bands``: for a
    stream, the axis of the diagonals of a tile of rows and stream, and its lanes."""

    rows: tuple[tuple[str, int], ...]
    streams: Mapping[str, int]
    whole: Mapping[str, int]
    bands: Mapping[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a tensor in memory lies: its layout, dtype, and whether its innermost stride is one."""

    axes: tuple[tuple[str, ...], ...]
    dtype: str
    contiguous: bool
    stride_divisor: int


@dataclass(eq=False, slots=True)
class KernelContext:
    """Shared by everything that lowers one kernel. ``storage`` covers inputs, outputs and temporaries; ``widths`` says
    which integers need 64 bits."""

    program: ProgramPlan
    plan: KernelPlan
    tiles: Tiles
    storage: Mapping[str, Storage]
    sizes: Mapping[str, int]
    real: str
    operand_dtype: str
    builder: TileBuilder
    kinds: Mapping[str, str]
    machine: Machine
    namer: Namer
    widths: Widths
    arguments: dict[ArgumentSource, Argument] = field(default_factory=dict[ArgumentSource, Argument])
    definitions: dict[str, tuple[Einsum, ...]] = field(default_factory=dict)
    zero_padded: dict[int, frozenset[str]] = field(default_factory=dict)

    @property
    def cascade(self) -> Cascade:
        """What the program computes."""
        return self.program.cascade

    @property
    def flow(self) -> Dependence:
        """The dataflow of that."""
        return self.program.flow

    @property
    def roles(self) -> Roles:
        """The part of each index."""
        return self.program.roles

    @property
    def params(self) -> Mapping[str, int | float | bool]:
        """Those that are part of the program."""
        return self.program.params

    def definition(self, tensor: str) -> tuple[Einsum, ...]:
        """The contributions to a computed tensor, made total: ``where`` is the whole guard, or None."""
        if tensor not in self.definitions:
            parts = (s for s in self.flow.by_target[tensor] if isinstance(s, Einsum))
            self.definitions[tensor] = tuple(map(self._total, parts))
        return self.definitions[tensor]

    def _total(self, part: Einsum) -> Einsum:
        exists = self.flow.guards.of(part)
        body = self.flow.guards.shared(total_body(part.body, self.cascade))
        return replace(part, body=body, where=None if exists == TRUE else exists)

    def argument(self, source: ArgumentSource, wanted: str, dtype: str, *, aligned: bool = False) -> str:
        """The name of a kernel argument; ``wanted``: the one it has where that is free."""
        if source not in self.arguments:
            self.arguments[source] = Argument(self.namer.claim(source, wanted), source, dtype, aligned)
        return self.arguments[source].name

    @property
    def row_axis(self) -> str:
        """The name of the axis that holds the row lanes."""
        return joint_axis(self.plan.rows)

    def comment(self, part: Einsum) -> str:
        """The statement as its author could have written it, with its line."""
        line = f"  (line {part.span.line})" if part.span is not None else ""
        text = print_statement(part)
        return f"{text if len(text) <= COMMENT_COLUMNS else text[: COMMENT_COLUMNS - 3] + '...'}{line}"


@dataclass(eq=False, slots=True)
class Scope:
    """Where an expression is evaluated: the coordinates of the indices, the states that can be read.

    ``masked``: whether stream lanes may lie outside the stream. ``endpoints``: values of ``lo:i`` / ``hi:i``.
    ``running``: values of streamed tensors at this point. ``loop_axes``: the stream axis, empty outside.
    """

    block: Block
    coordinates: dict[str, Node]
    running: dict[str, Node] = field(default_factory=dict)
    present: dict[str, Node] = field(default_factory=dict)
    endpoints: dict[str, Node] = field(default_factory=dict)
    masked: bool = True
    stream: tuple[str, ...] = ()
    memo: dict[Expr, Node] = field(default_factory=dict)

    def inner(self, block: Block, coordinates: Mapping[str, Node], stream: tuple[str, ...]) -> Scope:
        """A scope inside a loop."""
        return Scope(
            block,
            {**self.coordinates, **coordinates},
            dict(self.running),
            dict(self.present),
            dict(self.endpoints),
            stream=stream,
        )


def buffer_storage(buffer: Buffer, whole: frozenset[str]) -> Storage:
    """Outputs and temporaries are contiguous and row-major."""
    innermost = buffer.axes[-1] if buffer.axes else ()
    return Storage(buffer.axes, buffer.dtype, bool(set(innermost) & whole), 1)


def collecting_storage(buffer: Buffer) -> Storage:
    """What is sent to computed places is held beside its parts, or in its digits."""
    match buffer.collects:
        case "parts":
            held = "f64" if is_float(buffer.dtype) else "i64"
            return Storage(((PARTS,), *buffer.axes), held, False, 1)
        case "digits":
            return Storage((*buffer.axes, (DIGITS,)), "i64", False, 1)
        case _:
            return Storage(buffer.axes, "i64", False, 1)


def accumulator_dtype(real: str, dtype: str) -> str:
    """States accumulate reals in f32 (f64 for f64), integers in their own."""
    return real if is_float(dtype) else dtype


__all__ = [
    "TRUE", "KernelContext", "Scope", "State", "Storage", "Tiles", "accumulator_dtype", "buffer_storage",
    "collecting_storage",
]  # fmt: skip
