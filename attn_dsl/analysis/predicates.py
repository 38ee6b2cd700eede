"""Predicates as alternatives of conjunctions of simple comparisons."""

from __future__ import annotations

from collections.abc import Callable

from attn_dsl.analysis.integers import Values
from attn_dsl.analysis.linear import solve
from attn_dsl.analysis.logic import PRESENT
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.dtypes import Kind
from attn_dsl.ir.expr import Const, Expr, Op, Select
from attn_dsl.ir.kinds import Kinds
from attn_dsl.ir.operators import COMPARISONS
from attn_dsl.ir.walk import index_names, tensors_read

MAX_ALTERNATIVES = 4
_CONNECTIVES = frozenset({"and", "or", "not"})
_FLIPPED = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt", "eq": "ne", "ne": "eq"}
_SWAPPED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
Conjunction = tuple[Expr, ...]


def is_integral(expr: Expr, cascade: Cascade) -> bool:
    """Whether an expression is an integer (or a truth value), or compares such: comparisons then are exact.
    What is made an integer by a cast is one, and so is a tensor that is computed from integers."""
    match expr:
        case Op(name=name, args=args) if name in COMPARISONS or name in _CONNECTIVES:
            return all(is_integral(a, cascade) for a in args)
        case _ if any(t.startswith(PRESENT) for t in tensors_read(expr)):
            return False
        case _:
            return _kinds(cascade).of(expr) is not Kind.REAL


def _kinds(cascade: Cascade) -> Kinds:
    if "kinds" not in cascade.known:
        cascade.known["kinds"] = Kinds(cascade)
    return cascade.known["kinds"]


class Alternatives:
    """Parts predicates over ``streams``; what does not part, or would part into more than ``most``, stays
    whole."""

    def __init__(
        self, streams: frozenset[str], params: Values, cascade: Cascade, most: int = MAX_ALTERNATIVES
    ) -> None:
        self.streams = streams
        self.most = most
        self.params = params
        self.cascade = cascade

    def of(self, predicate: Expr) -> list[Conjunction]:
        """The alternatives of which at least one holds exactly where the predicate does."""
        match predicate:
            case Const(value=value):
                return [()] if value else []
            case Op(name="and", args=args):
                return self._all([self.of(a) for a in args], predicate)
            case Op(name="or", args=args):
                return self._any([self.of(a) for a in args], predicate)
            case Op(name="not", args=(inner,)):
                negated = self._negate(inner)
                return [(predicate,)] if negated is None else self.of(negated)
            case Select(condition=c, then=a, otherwise=b):
                taken = Op("and", (c, a)), Op("and", (Op("not", (c,)), b))
                return self.of(Op("or", taken))
            case Op(name=name) if name in COMPARISONS and self._varies(predicate):
                parts = self._comparison(predicate)
                return [(predicate,)] if parts is None else self.of(parts)
            case _:
                return [(predicate,)]

    def _varies(self, expr: Expr) -> bool:
        return bool(set(index_names(expr)) & self.streams)

    def _all(self, parts: list[list[Conjunction]], whole: Expr) -> list[Conjunction]:
        result: list[Conjunction] = [()]
        for part in parts:
            joined = [tuple(dict.fromkeys((*a, *b))) for a in result for b in part]
            if len(joined) > self.most:
                joined = [tuple(dict.fromkeys((*a, *self._opaque(part)))) for a in result]
            result = joined
        return result

    def _any(self, parts: list[list[Conjunction]], whole: Expr) -> list[Conjunction]:
        joined = list(dict.fromkeys(c for part in parts for c in part))
        if () in joined:
            return [()]
        return joined if len(joined) <= self.most else [(whole,)]

    def _opaque(self, part: list[Conjunction]) -> Conjunction:
        """Alternatives put back into one predicate."""
        sides = [self._join("and", c) for c in part]
        return (self._join("or", sides),)

    def _join(self, name: str, parts: Conjunction | list[Expr]) -> Expr:
        if not parts:
            return Const(name == "and")
        result = parts[0]
        for part in parts[1:]:
            result = Op(name, (result, part))
        return result

    def _negate(self, expr: Expr) -> Expr | None:
        match expr:
            case Const(value=value):
                return Const(not value)
            case Op(name="and" | "or" as name, args=args):
                return self._join("or" if name == "and" else "and", [Op("not", (a,)) for a in args])
            case Op(name="not", args=(inner,)):
                return inner
            case Op(name=name, args=args) if name in COMPARISONS and is_integral(expr, self.cascade):
                return Op(_FLIPPED[name], args)
            case _:
                return None

    def _comparison(self, expr: Op) -> Expr | None:
        """A comparison in simpler ones: equality as two, and abs, min, max on a side that varies."""
        name, (a, b) = expr.name, expr.args
        if not is_integral(expr, self.cascade):
            return None
        if name in ("eq", "ne") and not self._parts(a, b):
            return None
        if name == "eq":
            return Op("and", (Op("le", (a, b)), Op("ge", (a, b))))
        if name == "ne":
            return Op("or", (Op("lt", (a, b)), Op("gt", (a, b))))
        return self._open(name, a, b) or self._open(_SWAPPED[name], b, a)

    def _parts(self, a: Expr, b: Expr) -> bool:
        """Whether a bound comes of parting ``a == b``; else it stays one test."""
        if solve(Op("sub", (a, b)), self.streams, self.params) is not None:
            return True
        return self._open("le", a, b) is not None or self._open("ge", b, a) is not None

    def _open(self, name: str, a: Expr, b: Expr) -> Expr | None:
        if not self._varies(a) or not isinstance(a, Op):
            return None
        compare: Callable[[Expr], Expr] = lambda side: Op(name, (side, b))
        below = name in ("lt", "le")
        if a.name == "abs":
            opposite = Op("neg", (a.args[0],))
            return self._join("and" if below else "or", [compare(a.args[0]), compare(opposite)])
        if a.name == "clamp":
            value, low, high = a.args
            return compare(Op("min", (Op("max", (value, low)), high)))
        if a.name in ("min", "max"):
            every = (a.name == "max") == below
            return self._join("and" if every else "or", [compare(side) for side in a.args])
        return None


__all__ = ["Alternatives", "is_integral"]
