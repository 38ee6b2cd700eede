"""Values that are detached in one place only, where nothing depends on them.

    m max= x;  l += exp(x - detach(m));  R = m + log(l)

R is the same whatever m is: m only keeps exp in range. Its gradient is the right one where m is detached
everywhere; here it has that of m beside it. Whether a tensor depends on m is decided by what it does when m
grows by t, apart for m as it is (by a t) and detached (by c t): it grows by (a + c) t, or by exp((a + c) t).
R does not depend on m, for a = 1 and c = -1; but its gradient does, for a is not 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from attn_dsl.errors import Diagnostic
from attn_dsl.ir.cascade import Cascade, Einsum, Reduction
from attn_dsl.ir.expr import Cast, Const, Default, Detach, Expr, Op, Read, Select
from attn_dsl.ir.walk import children, index_names, walk

_LOG2 = 0.6931471805599453
_KNOWN = ("term", "factor")
Number = Any  # a number, or sympy's formula of what does not depend on the tensor


@dataclass(frozen=True, slots=True)
class Growth:
    """``kind``: ``term``, grows by it; ``factor``, by its exponential; ``same``, not at all; ``unknown``."""

    kind: str = "same"
    attached: Number = 0
    detached: Number = 0

    def times(self, scale: Number, kind: str | None = None) -> Growth:
        """Of a multiple (a power), or as another kind."""
        return _growth(kind or self.kind, self.attached * scale, self.detached * scale)

    def plus(self, other: Growth, sign: int = 1) -> Growth:
        """Of a sum of terms, of a product of factors."""
        kind = self.kind if other.kind == "same" else other.kind
        return _growth(kind, self.attached + sign * other.attached, self.detached + sign * other.detached)


SAME, UNKNOWN = Growth(), Growth("unknown")


def advice(cascade: Cascade) -> Iterator[Diagnostic]:
    """A warning for each tensor that is detached in one place and not in another, and that something it does
    not depend on has a gradient of."""
    for tensor in _candidates(cascade):
        yield from _of(tensor, cascade)


def _candidates(cascade: Cascade) -> list[str]:
    detached: dict[str, None] = {}
    attached: set[str] = set()
    for statement in cascade.statements:
        hidden = [n.value for n in walk(statement.body) if isinstance(n, Detach)]
        detached |= dict.fromkeys(r.tensor for e in hidden for r in walk(e) if isinstance(r, Read))
        attached |= {r.tensor for r in _open_reads(statement.body)}
    computed = {s.target for s in cascade.statements}
    return [t for t in detached if t in attached and t in computed]


def _open_reads(expr: Expr) -> Iterator[Read]:
    if isinstance(expr, Detach):
        return
    if isinstance(expr, Read):
        yield expr
    for child in children(expr):
        yield from _open_reads(child)


def _of(tensor: str, cascade: Cascade) -> Iterator[Diagnostic]:
    known: dict[str, Growth] = {tensor: Growth("term", 1, 0)}
    for statement in cascade.statements:
        if statement.target == tensor:
            continue
        if not isinstance(statement, Einsum) or statement.is_keyed:
            reads = {n.tensor for n in walk(statement.body) if isinstance(n, Read)}
            known[statement.target] = UNKNOWN if reads & known.keys() else SAME
            continue
        found = _reduced(statement, known)
        before = known.get(statement.target, found)
        known[statement.target] = _either(before, found)
        yours = [r for r in _open_reads(statement.body) if r.tensor == tensor]
        if yours and _is_mistaken(known[statement.target]):
            yield Diagnostic(
                f"'{statement.target}' does not depend on '{tensor}', but its gradient does: '{tensor}' is detached "
                "elsewhere and not here",
                yours[0].span or statement.span,
                f"write detach({tensor}) here too",
                severity="warning",
            )


def _is_mistaken(growth: Growth) -> bool:
    import sympy

    if growth.kind not in _KNOWN:
        return False
    total: Any = sympy.simplify(growth.attached + growth.detached)
    return bool(total == 0 and sympy.simplify(growth.attached) != 0)


def _reduced(statement: Einsum, known: Mapping[str, Growth]) -> Growth:
    body = _growth_of(statement.body, known)
    over = {*statement.over}
    if statement.reduce is None or body.kind in ("same", "unknown"):
        return body
    if _symbols(body) & over:
        return UNKNOWN
    match statement.reduce, body.kind:
        case Reduction.MEAN, _:
            return body
        case ((Reduction.MAX | Reduction.MIN), _):
            return body  # of factors, too: they are positive
        case Reduction.SUM, "factor":
            return body
        case _:
            return UNKNOWN


def _growth_of(expr: Expr, known: Mapping[str, Growth]) -> Growth:
    match expr:
        case Read(tensor=tensor):
            return known.get(tensor, SAME)
        case Detach(value=value):
            inner = _growth_of(value, known)
            return _growth(inner.kind, 0, inner.attached + inner.detached)
        case Cast(dtype="f64" | "f32", value=value):
            return _growth_of(value, known)
        case Default(value=value, fallback=fallback):
            return _growth_of(value, known) if _growth_of(fallback, known) == SAME else UNKNOWN
        case Select(condition=c, then=a, otherwise=b) if _growth_of(c, known) == SAME:
            return _either(_growth_of(a, known), _growth_of(b, known))
        case Op():
            return _operation(expr, [_growth_of(a, known) for a in expr.args])
        case _:
            return SAME if all(_growth_of(c, known) == SAME for c in children(expr)) else UNKNOWN


def _operation(expr: Op, found: list[Growth]) -> Growth:
    if all(g == SAME for g in found):
        return SAME
    match expr.name, [g.kind for g in found]:
        case "neg", ["term"]:
            return found[0].times(-1)
        case "neg", ["factor"]:
            return found[0]
        case ("add" | "sub") as name, ["term" | "same", "term" | "same"]:
            return found[0].plus(found[1], 1 if name == "add" else -1)
        case (("add" | "sub" | "max" | "min"), _) if all(g == found[0] for g in found):
            return found[0] if found[0].kind == "factor" or expr.name in ("max", "min") else UNKNOWN
        case ("mul" | "div") as name, ["factor" | "same", "factor" | "same"]:
            return found[0].plus(found[1], 1 if name == "mul" else -1)
        case "mul", ["same", "term"]:
            return found[1].times(_formula(expr.args[0]))
        case "mul", ["term", "same"]:
            return found[0].times(_formula(expr.args[1]))
        case "div", ["term", "same"]:
            return found[0].times(1 / _formula(expr.args[1]))
        case "exp", ["term"]:
            return found[0].times(1, "factor")
        case "exp2", ["term"]:
            return found[0].times(_LOG2, "factor")
        case "log", ["factor"]:
            return found[0].times(1, "term")
        case "log2", ["factor"]:
            return found[0].times(1 / _LOG2, "term")
        case _:
            return UNKNOWN


def _either(a: Growth, b: Growth) -> Growth:
    return a if a == b else UNKNOWN


def _growth(kind: str, attached: Number, detached: Number) -> Growth:
    return SAME if attached == 0 and detached == 0 and kind != "unknown" else Growth(kind, attached, detached)


def _formula(expr: Expr) -> Number:
    """What does not depend on the tensor, as a number or a symbol named by the indices it varies with."""
    import sympy

    if isinstance(expr, Const) and not isinstance(expr.value, bool):
        return expr.value
    return sympy.Symbol(f"{'.'.join(index_names(expr))}:{expr!r}", real=True)


def _symbols(growth: Growth) -> set[str]:
    """The indices that the coefficients vary with."""
    names = [
        s.name
        for n in (growth.attached, growth.detached)
        if hasattr(n, "free_symbols")
        for s in n.free_symbols
    ]
    return {index for name in names for index in name.split(":")[0].split(".") if index}
