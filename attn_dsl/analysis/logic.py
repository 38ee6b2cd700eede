"""Total predicates put together: conjunction, disjunction and negation, without what goes without saying."""

from __future__ import annotations

from attn_dsl.ir.expr import Const, Expr, Op

TRUE, FALSE = Const(True), Const(False)
PRESENT = "present:"


def conjunction(*parts: Expr) -> Expr:
    """``a and b and ...``, without repetitions and truths."""
    unique = dict.fromkeys(c for part in parts for c in conjuncts(part))
    if FALSE in unique:
        return FALSE
    return _chain("and", tuple(unique), TRUE)


def disjunction(*parts: Expr) -> Expr:
    """``a or b or ...``: what all share stands in front, once; a part that says more than another goes.

    a and b  or  a and c      ->   a and (b or c)            a and b  or  a        ->   a
    a and b  or  a and not b  ->   a
    """
    arms = [dict.fromkeys(conjuncts(p)) for q in parts for p in _disjuncts(q) if p != FALSE]
    sets = [frozenset(arm) for arm in arms]
    kept = [
        arm
        for at, (arm, own) in enumerate(zip(arms, sets, strict=True))
        if not any(other < own or (other == own and k < at) for k, other in enumerate(sets))
    ]
    if not kept:
        return FALSE
    shared = [c for c in kept[0] if all(c in arm for arm in kept)]
    rest = tuple(conjunction(*(c for c in arm if c not in shared)) for arm in kept)
    if any(negation(r) in rest for r in rest):
        return conjunction(*shared)
    return conjunction(*shared, _chain("or", rest, FALSE))


def _disjuncts(expr: Expr) -> tuple[Expr, ...]:
    match expr:
        case Op(name="or", args=args):
            return tuple(d for a in args for d in _disjuncts(a))
        case _:
            return (expr,)


def negation(part: Expr) -> Expr:
    """``not a``."""
    match part:
        case Const(value=value):
            return Const(not value)
        case Op(name="not", args=(inner,)):
            return inner
        case _:
            return Op("not", (part,))


def conjuncts(expr: Expr) -> tuple[Expr, ...]:
    """The parts of a conjunction, truths left out."""
    found: list[Expr] = []
    pending = [expr]
    while pending:
        match pending.pop():
            case Op(name="and", args=args):
                pending += reversed(args)
            case part if part != TRUE:
                found.append(part)
            case _:
                pass
    return tuple(found)


def _chain(name: str, parts: tuple[Expr, ...], unit: Expr) -> Expr:
    if not parts:
        return unit
    result = parts[0]
    for part in parts[1:]:
        result = Op(name, (result, part))
    return result
