"""The normal form: small rewrites, each from cascade to cascade, that keep the meaning."""

from __future__ import annotations

from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.validate import validated
from attn_dsl.rewrites.base_two import base_two
from attn_dsl.rewrites.common_subexpressions import common_subexpressions
from attn_dsl.rewrites.dead_statements import dead_statements
from attn_dsl.rewrites.distribute import distribute
from attn_dsl.rewrites.hoist import hoist
from attn_dsl.rewrites.hoist_extremum import hoist_extremum
from attn_dsl.rewrites.hoist_guards import hoist_guards
from attn_dsl.rewrites.literals import literals
from attn_dsl.rewrites.logarithms import logarithms
from attn_dsl.rewrites.separate import separate
from attn_dsl.rewrites.simplify import simplify
from attn_dsl.rewrites.sum_first import sum_first

_REARRANGE = (
    literals,
    simplify,
    logarithms,
    dead_statements,
    common_subexpressions,
    distribute,
    separate,
    hoist,
    hoist_guards,
    sum_first,
    hoist_extremum,
)
_ROUNDS = 32


def normal_form(cascade: Cascade) -> Cascade:
    """Rearrange until nothing moves, go to base two, and rearrange what that has uncovered."""
    return validated(_to_fixed_point(base_two(_to_fixed_point(cascade))))


def _to_fixed_point(cascade: Cascade) -> Cascade:
    """Every rewrite removes something from a finite stock (a factor inside a sum, a repeated expression), so
    this ends; the bound only guards against a defect."""
    for _ in range(_ROUNDS):
        before = cascade
        for rewrite in _REARRANGE:
            cascade = rewrite(cascade)
        if cascade == before:
            return cascade
    raise AssertionError(f"the normal form of {cascade.name} does not settle")
