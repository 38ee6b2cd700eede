"""A model of a kernel: one row at a time, one key at a time, passes and folds as the analysis says.

It computes what a kernel with tiles of one element would, so that an analysis can be held against the meaning
of the language on any cascade over rows i, keys j and features e.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from attn_dsl.analysis.passes import PassAnalysis
from attn_dsl.ir.cascade import Cascade, Einsum, Reduction
from attn_dsl.ir.expr import Const, Default, Detach, Expr, IndexVar, Op, Read

Value = float | None
Place = Mapping[str, int]
COMPUTE: Mapping[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b if b else a * math.inf,  # b is an integer or no zero: +0
    "neg": lambda a: -a,
    "exp": lambda a: math.exp(min(a, 500)),
    "exp2": lambda a: 2 ** min(a, 500 / math.log(2)),
    "tanh": math.tanh,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "and": lambda a, b: bool(a and b),
}


@dataclass
class Row:
    """The state of one row: what each streamed reduction has gathered so far, and of how many elements."""

    cascade: Cascade
    inputs: Mapping[str, Mapping[tuple[int, ...], float]]
    sizes: Mapping[str, int]
    analysis: PassAnalysis
    streamed: frozenset[str]
    state: dict[tuple[str, tuple[int, ...]], float] = field(default_factory=dict)
    count: dict[tuple[str, tuple[int, ...]], int] = field(default_factory=dict)

    def run(self, row: int) -> None:
        """All passes."""
        for number in range(self.analysis.count):
            targets = [t for t in self.analysis.order if self.analysis.level[t] == number]
            targets = [t for t in targets if t in self.streamed]
            for target in targets:
                self._step(target, {"i": row}, streaming=False, before=dict(self.state))
            for j in range(self.sizes["j"]):
                before = dict(self.state)
                for target in targets:
                    self._step(target, {"i": row, "j": j}, streaming=True, before=before)

    def read(self, tensor: str, place: Place, slots: tuple[int, ...]) -> Value:
        """The value of a tensor at this moment."""
        if tensor in self.inputs:
            return self.inputs[tensor].get(slots)
        parts = [s for s in self.cascade.definitions(tensor) if isinstance(s, Einsum)]
        if tensor in self.streamed:
            return self.state.get((tensor, slots))
        found = [self._element(s, {**place, **dict(zip(s.dims, slots, strict=True))}) for s in parts]
        present = [v for v in found if v is not None]
        return _combine(parts[0].reduce, present) if present else None

    def value(self, expr: Expr, place: Place, states: Mapping[str, Value] | None = None) -> Value:
        """The value of an expression; None where it is absent."""
        match expr:
            case Const(value=number):
                return float(number)
            case IndexVar(name=name):
                return place[name]
            case Read(tensor=tensor) if states is not None and tensor in states:
                return states[tensor]
            case Read(tensor=tensor, indices=indices):
                slots = tuple(int(self.value(s, place) or 0) for s in indices)
                return self.read(tensor, place, slots)
            case Detach(value=inner):
                return self.value(inner, place, states)
            case Default(value=inner, fallback=fallback):
                found = self.value(inner, place, states)
                return self.value(fallback, place, states) if found is None else found
            case Op(name="present", args=(inner,)):
                return self.value(inner, place, states) is not None
            case Op(name=name, args=args):
                values = [self.value(a, place, states) for a in args]
                return None if any(v is None for v in values) else COMPUTE[name](*values)
            case _:
                raise AssertionError(expr)

    def _element(self, statement: Einsum, place: Place) -> Value:
        if statement.where is not None and not self.value(statement.where, place):
            return None
        return self.value(statement.body, place)

    def _step(self, target: str, place: Place, *, streaming: bool, before: Mapping[object, float]) -> None:
        statements = [s for s in self.cascade.definitions(target) if isinstance(s, Einsum)]
        for features in range(self.sizes["e"] if "e" in statements[0].dims else 1):
            here = {**place, "e": features}
            slot = (target, tuple(here[d] for d in statements[0].dims))
            self._follow(target, slot, here, before)
            for statement in statements:
                if bool(statement.over) == streaming:
                    element = self._element(statement, here)
                    if element is not None:
                        self._gather(slot, statement.reduce, element)

    def _follow(
        self, target: str, slot: tuple[str, tuple[int, ...]], place: Place, before: Mapping[object, float]
    ) -> None:
        fold = self.analysis.folds.get(target)
        if fold is None or slot not in self.state:
            return
        states: dict[str, Value] = {}
        for result in fold.on:
            dims = self.cascade.definitions(result)[0].dims
            key = (result, tuple(place[d] for d in dims))
            states[f"old:{result}"] = before[key]  # there is a sum only where what it follows exists
            states[f"new:{result}"] = self.state[key]
        if all(states[f"old:{r}"] == states[f"new:{r}"] for r in fold.on):
            return  # exp(inf - inf) would be nan
        change = self.value(fold.correction, place, states)
        assert change is not None
        self.state[slot] = self.state[slot] * change if fold.kind == "ratio" else self.state[slot] + change

    def _gather(self, slot: tuple[str, tuple[int, ...]], reduce: Reduction | None, element: float) -> None:
        count = self.count.get(slot, 0)
        self.count[slot] = count + 1
        if count == 0:
            self.state[slot] = element
        elif reduce is Reduction.MEAN:
            self.state[slot] += (element - self.state[slot]) / (count + 1)
        else:
            self.state[slot] = _combine(reduce, [self.state[slot], element])


def _combine(reduce: Reduction | None, values: list[float]) -> float:
    match reduce:
        case Reduction.SUM:
            return sum(values)
        case Reduction.MAX:
            return max(values)
        case Reduction.MIN:
            return min(values)
        case Reduction.MEAN:
            return sum(values) / len(values)
        case _:
            (value,) = values
            return value
