"""What a program is specialised on; everything else (lengths, batches, strides) is known only at launch."""

from __future__ import annotations

from dataclasses import dataclass, field

from attn_dsl.codegen.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Specialisation:
    """``dtypes``: of every input, by name (``bf16``, ...). ``sizes``: the extents of the *whole* indices,
    those that a tile holds entirely (feature sizes); ``ProgramPlan.whole`` says which. ``architecture``:
    ``cuda:90``, ``hip:gfx942`` or ``interpreter``. ``matmul_precision``: ``ieee`` or ``tf32``, for f32
    contractions. ``wide``: extents or params passed at launch are beyond those for which 32 bits have been
    proved enough (``analysis.widths``)."""

    dtypes: tuple[tuple[str, str], ...]
    sizes: tuple[tuple[str, int], ...]
    architecture: str
    schedule: Schedule = field(default_factory=Schedule)
    matmul_precision: str = "ieee"
    wide: bool = False
