"""What the lowering of one kernel knows: the cascade, the part of each index, the tiles, the arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from attn_dsl.analysis.presence import total_body
from attn_dsl.analysis.widths import Widths
from attn_dsl.codegen.naming import Namer, joint_axis
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.program import Argument, ArgumentSource, Buffer
from attn_dsl.codegen.results import ResultTypes
from attn_dsl.codegen.schedule.tiling import Tiles
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.codegen.storage import Storage
from attn_dsl.codegen.targets.machine import Machine
from attn_dsl.codegen.targets.target import Target
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


@dataclass(frozen=True, eq=False)
class ProgramContext:
    """Shared by all kernels of a program. ``plan``: at the sizes it is specialised on, ``sizes``; ``types``: of its
    tensors; ``held``: the dtype of each between kernels; ``storage``: of inputs, outputs and temporaries;
    ``widths`` says which integers need 64 bits."""

    plan: ProgramPlan
    spec: Specialisation
    sizes: Mapping[str, int]
    target: Target
    types: ResultTypes
    held: Mapping[str, str]
    widths: Widths
    buffers: tuple[Buffer, ...]
    storage: Mapping[str, Storage]

    @property
    def operand(self) -> str:
        """What products are taken in that have no input among their factors."""
        return self.types.result if is_float(self.types.result) else "f32"


@dataclass(eq=False, slots=True)
class KernelContext:
    """Shared by everything that lowers one kernel."""

    whole: ProgramContext
    plan: KernelPlan
    tiles: Tiles
    builder: TileBuilder
    namer: Namer
    arguments: dict[ArgumentSource, Argument] = field(default_factory=dict[ArgumentSource, Argument])
    definitions: dict[str, tuple[Einsum, ...]] = field(default_factory=dict[str, tuple[Einsum, ...]])
    zero_padded: dict[Node, frozenset[str]] = field(default_factory=dict[Node, frozenset[str]])

    @property
    def program(self) -> ProgramPlan:
        """The plan that the kernel is one of."""
        return self.whole.plan

    @property
    def cascade(self) -> Cascade:
        """What the program computes."""
        return self.whole.plan.cascade

    @property
    def flow(self) -> Dependence:
        """The dataflow of that."""
        return self.whole.plan.flow

    @property
    def roles(self) -> Roles:
        """The part of each index."""
        return self.whole.plan.roles

    @property
    def params(self) -> Mapping[str, int | float | bool]:
        """Those that are part of the program."""
        return self.whole.plan.params

    @property
    def held(self) -> Mapping[str, str]:
        """The dtype of each tensor between kernels."""
        return self.whole.held

    @property
    def storage(self) -> Mapping[str, Storage]:
        """Where tensors lie."""
        return self.whole.storage

    @property
    def sizes(self) -> Mapping[str, int]:
        """The extents that are constants."""
        return self.whole.sizes

    @property
    def widths(self) -> Widths:
        """Which values integers have."""
        return self.whole.widths

    @property
    def machine(self) -> Machine:
        """What is lowered for."""
        return self.whole.target.machine

    @property
    def real(self) -> str:
        """The dtype of pointwise arithmetic and of accumulators."""
        return self.whole.types.real

    @property
    def operand_dtype(self) -> str:
        """What products are taken in that have no input among their factors."""
        return self.whole.operand

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


def accumulator_dtype(real: str, dtype: str) -> str:
    """States accumulate reals in f32 (f64 for f64), integers in their own."""
    return real if is_float(dtype) else dtype


__all__ = [
    "TRUE", "KernelContext", "ProgramContext", "Scope", "State", "accumulator_dtype",
]  # fmt: skip
