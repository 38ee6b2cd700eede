"""What is legal and probably not meant: sums that lose elements, maxima that are detached here and there, declarations
nobody uses.

A sum is absent where one operand is, so ``window[..] + blocks[..]`` keeps only the rows that have both. Two
operands whose guards differ are told apart by the predicates they stand under:

    ``always``     predicates that an element itself needs (``X = S where causal``)
    ``somewhere``  predicates under which at least one reduced element must exist (``O += P where causal``)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attn_dsl.errors import Diagnostic
from attn_dsl.ir.cascade import Cascade, Einsum, Ranking, Statement
from attn_dsl.ir.expr import Default, Expr, IndexVar, Op, Read, Select, SizeOf
from attn_dsl.ir.walk import children, walk
from attn_dsl.language import stabilisers

_MEND = "write default(x, 0) for what may be absent, or a second '+=' to the same tensor"


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

    def differs(self, other: Guards) -> bool:
        """Whether a sum of the two is likely to lose elements. Reductions are told apart only where each has a
        predicate the other lacks: one under ``t <= i``, or under fewer predicates, may well exist everywhere."""
        if not (self.computed and other.computed):
            return False
        apart = self.somewhere - other.somewhere and other.somewhere - self.somewhere
        return self.always != other.always or bool(apart)


def advice(cascade: Cascade) -> list[Diagnostic]:
    """The warnings about a legal cascade, in the order of its statements."""
    return [*_sums(cascade), *stabilisers.advice(cascade), *_unused_indices(cascade)]


def _sums(cascade: Cascade) -> list[Diagnostic]:
    tensors: dict[str, Guards] = {}
    found: list[Diagnostic] = []
    for statement in cascade.statements:
        for node in walk(statement.body):
            match node:
                case Op(name="add", args=(a, b)) if _guards(a, tensors).differs(_guards(b, tensors)):
                    what = "'+' joins operands that do not exist at the same places; the sum is absent where one is"
                    found.append(Diagnostic(what, node.span, _MEND, severity="warning"))
                case _:
                    pass
        made = _made(statement, tensors)
        before = tensors.get(statement.target)
        tensors[statement.target] = made if before is None else before.either(made)
    return found


def _made(statement: Statement, tensors: Mapping[str, Guards]) -> Guards:
    body = _guards(statement.body, tensors)
    own = frozenset() if statement.where is None else frozenset({statement.where})
    match statement:
        case Ranking():
            return Guards(body.always | own, body.somewhere, True)
        case Einsum(over=()):
            return Guards(body.always | own, body.somewhere, True)
        case Einsum():
            return Guards(frozenset(), body.somewhere | body.always | own, True)


def _guards(expr: Expr, tensors: Mapping[str, Guards]) -> Guards:
    match expr:
        case Read(tensor=tensor):
            return tensors.get(tensor, Guards())
        case Default(fallback=fallback):
            return _guards(fallback, tensors)
        case Select(then=then, otherwise=otherwise):
            return _guards(then, tensors).either(_guards(otherwise, tensors))
        case _:
            joined = Guards()
            for child in children(expr):
                joined = joined.joined(_guards(child, tensors))
            return joined


def _unused_indices(cascade: Cascade) -> list[Diagnostic]:
    used = {i for tensor in cascade.inputs for i in tensor.dims}
    for statement in cascade.statements:
        used |= {*statement.dims, *_named(statement.body), *_named(statement.where)}
    for index in cascade.indices:
        used |= {*_named(index.size), *_named(index.limit)}
    return [
        Diagnostic(f"index '{index.name}' is never used", index.span, "remove it", severity="warning")
        for index in cascade.indices
        if index.name not in used
    ]


def _named(expr: Expr | None) -> set[str]:
    """The indices whose value or size an expression needs."""
    nodes = () if expr is None else walk(expr)
    return {node.name if isinstance(node, IndexVar) else node.index for node in nodes
            if isinstance(node, (IndexVar, SizeOf))}  # fmt: skip
