"""What a cascade's results are, before there is a program: their layouts and dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attn_dsl.analysis.logic import PRESENT
from attn_dsl.codegen.numbers import is_float, join_dtypes
from attn_dsl.codegen.program import Buffer
from attn_dsl.ir.cascade import Cascade, Output
from attn_dsl.ir.dtypes import Kind
from attn_dsl.ir.kinds import Kinds
from attn_dsl.planning.plan import ProgramPlan


@dataclass(frozen=True, slots=True)
class ResultTypes:
    """``kinds``: of every tensor. ``real``: the dtype of pointwise arithmetic and of
    accumulators; ``result``: of the outputs that declare none."""

    kinds: dict[str, Kind]
    real: str
    result: str

    def output(self, output: Output) -> str:
        """The dtype an output is stored in."""
        if output.dtype is not None:
            return output.dtype
        return {Kind.INTEGER: "i64", Kind.BOOLEAN: "bool"}.get(self.kinds[output.name], self.result)


def result_types(cascade: Cascade, dtypes: Mapping[str, str]) -> ResultTypes:
    """The types of a cascade in normal form, for inputs of these dtypes."""
    floats = [d for d in dtypes.values() if is_float(d)]
    free = [dtypes[i.name] for i in cascade.inputs if i.dtype is None]
    result = free[0] if len(set(free)) == 1 else join_dtypes(*free) if free else "f32"
    return ResultTypes(_kinds(cascade, dtypes), "f64" if "f64" in floats else "f32", result)


def _kinds(cascade: Cascade, dtypes: Mapping[str, str]) -> dict[str, Kind]:
    kinds = Kinds(cascade, dtypes)
    names = (*(i.name for i in cascade.inputs), *(s.target for s in cascade.statements))
    return {name: kinds.tensor(name) for name in names}


def output_buffer(output: Output, types: ResultTypes) -> Buffer:
    """Where an output is stored."""
    return Buffer(output.name, tuple(a.indices for a in output.axes), types.output(output), True)


def flag(tensor: str, dims: tuple[str, ...], *, is_output: bool) -> Buffer:
    """Where it is stored whether a tensor exists."""
    return Buffer(PRESENT + tensor, tuple((d,) for d in dims), "i8", is_output)


def results(plan: ProgramPlan, dtypes: Mapping[str, str]) -> tuple[Buffer, ...]:
    """What programs of a plan return for inputs of these dtypes, in order: the outputs, then the presence of
    what is kept."""
    types = result_types(plan.cascade, dtypes)
    flags = (flag(t, dims, is_output=True) for t, dims in plan.presences)
    return (*(output_buffer(o, types) for o in plan.cascade.outputs), *flags)
