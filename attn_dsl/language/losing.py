"""Sums that lose elements: a ``+`` is absent where one operand is.

    O = near + far       rows that only one of them has are lost: warned about
    X + log(G)           under the softmax that follows, X's mask is meant: no word

Operands whose guards differ are told apart by the predicates they stand under:

    ``always``     predicates that an element itself needs (``X = S where causal``)
    ``somewhere``  predicates under which at least one reduced element must exist (``O += P where causal``)

Where each has a predicate the other lacks, what is left is neither's. Where one alone has, the sum is that
operand under its mask, which every reduction takes as it is; only an output that gets it element by element
shows 0 for what the other had. A statement whose own ``where`` asks for these predicates says that it is
meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attn_dsl.errors import Diagnostic
from attn_dsl.ir.cascade import Cascade, Einsum, Ranking, Statement
from attn_dsl.ir.expr import Default, Expr, Op, Read, Select
from attn_dsl.ir.printer import print_expr
from attn_dsl.ir.walk import children, tensors_read

_WHAT = "'+' joins operands that do not exist at the same places; the sum is absent where one is"
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Guards:
    """The predicates an expression's presence hangs on; ``computed``: whether it reads a computed tensor."""

    always: frozenset[Expr] = frozenset()
    somewhere: frozenset[Expr] = frozenset()
    computed: bool = False

    def joined(self, other: Guards) -> Guards:
        """Both must exist."""
        return Guards(
            self.always | other.always, self.somewhere | other.somewhere, self.computed or other.computed
        )

    def either(self, other: Guards) -> Guards:
        """One of the two suffices."""
        return Guards(
            self.always & other.always, self.somewhere & other.somewhere, self.computed or other.computed
        )

    def without(self, said: frozenset[Expr]) -> Guards:
        """What is left to ask where the statement itself asks for some."""
        return Guards(self.always - said, self.somewhere - said, self.computed)


@dataclass(frozen=True, slots=True)
class _Sum:
    """A ``+`` in the statement at this position, and what each operand needs."""

    at: int
    node: Op
    left: Guards
    right: Guards

    @property
    def loses_of_both(self) -> bool:
        """Whether each operand has a predicate the other lacks. Reductions are told apart only so: one under
        ``t <= i``, or under fewer predicates, may well exist everywhere."""
        a, b = self.left, self.right
        return bool(a.always - b.always and b.always - a.always) or bool(
            a.somewhere - b.somewhere and b.somewhere - a.somewhere
        )

    @property
    def loses_of_one(self) -> bool:
        """Whether one operand has a mask of its own."""
        return self.left.always != self.right.always


def lost_elements(cascade: Cascade) -> list[Diagnostic]:
    """A warning for every sum that probably loses elements, once for a place in the text."""
    found = _sums(cascade, {})
    shown = _shown(cascade) if any(s.loses_of_one for s in found) else frozenset()
    warnings = [
        Diagnostic(_WHAT, s.node.span, _help(s), severity="warning")
        for s in found
        if s.loses_of_both or (s.loses_of_one and s.at in shown)
    ]
    return list(dict.fromkeys(warnings))


def _help(found: _Sum) -> str:
    """How to mend it; a ``default`` takes a mask away, so the mask is named."""
    lacking = [
        (operand, min(map(print_expr, mine - others), key=lambda text: (len(text), text)))
        for operand, mine, others in (
            (found.node.args[0], found.left.always, found.right.always),
            (found.node.args[1], found.right.always, found.left.always),
        )
        if mine - others
    ]
    if not lacking:
        return "add them as two '+=' to one tensor, or write default(x, 0) for an operand that may be absent"
    only = " and ".join(
        f"{_short(print_expr(operand))} exists only where {mask}" for operand, mask in lacking
    )
    return f"{only}: say so after 'where' if that is meant; default(x, 0) adds 0 there, and lifts the mask"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else "one operand"


def needed(cascade: Cascade) -> dict[str, Guards]:
    """What the elements of every computed tensor need."""
    tensors: dict[str, Guards] = {}
    _sums(cascade, tensors)
    return tensors


def _sums(cascade: Cascade, tensors: dict[str, Guards]) -> list[_Sum]:
    found: list[_Sum] = []
    for at, statement in enumerate(cascade.statements):
        own = asked(statement.where)
        sums: list[tuple[Op, Guards, Guards]] = []
        body = _guards(statement.body, tensors, sums)
        found += [
            _Sum(at, node, a.without(own), b.without(own))
            for node, a, b in sums
            if a.computed and b.computed and (a.always != b.always or a.somewhere != b.somewhere)
        ]
        made = _made(statement, body, own)
        before = tensors.get(statement.target)
        tensors[statement.target] = made if before is None else before.either(made)
    return found


def asked(where: Expr | None) -> frozenset[Expr]:
    """A guard and the predicates it joins."""
    pending = [] if where is None else [where]
    found = list(pending)
    while pending:
        match pending.pop():
            case Op(name="and", args=args):
                found += args
                pending += args
            case _:
                pass
    return frozenset(found)


def _made(statement: Statement, body: Guards, own: frozenset[Expr]) -> Guards:
    match statement:
        case Ranking() | Einsum(over=()):
            return Guards(body.always | own, body.somewhere, True)
        case Einsum():
            return Guards(frozenset(), body.somewhere | body.always | own, True)


def _guards(expr: Expr, tensors: Mapping[str, Guards], sums: list[tuple[Op, Guards, Guards]]) -> Guards:
    """What an expression needs; the sums in it are noted on the way, inner ones first."""
    match expr:
        case Read(tensor=tensor):
            return tensors.get(tensor, Guards())
        case Default(value=value, fallback=fallback):
            _guards(value, tensors, sums)
            return _guards(fallback, tensors, sums)
        case Select(condition=condition, then=then, otherwise=otherwise):
            _guards(condition, tensors, sums)
            return _guards(then, tensors, sums).either(_guards(otherwise, tensors, sums))
        case _:
            parts = [_guards(child, tensors, sums) for child in children(expr)]
            if isinstance(expr, Op) and expr.name == "add":
                sums.append((expr, parts[0], parts[1]))
            joined = Guards()
            for part in parts:
                joined = joined.joined(part)
            return joined


def _shown(cascade: Cascade) -> frozenset[int]:
    """The statements whose elements reach an output one by one, and that no reduction takes."""
    outputs = {o.name for o in cascade.outputs}
    reached: set[str] = set(outputs)
    taken: set[str] = set()
    shown: set[int] = set()
    for at, statement in reversed(list(enumerate(cascade.statements))):
        reads = tensors_read(statement.body)
        reduces = isinstance(statement, Ranking) or bool(statement.over)
        if reduces or statement.target in taken:
            taken |= {*reads}
        elif statement.target in reached:
            reached |= {*reads}
            shown.add(at)
    return frozenset(at for at in shown if cascade.statements[at].target not in taken)
