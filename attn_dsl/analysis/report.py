"""The passes of a kernel as text, for people.

pass 1: m max= over j, l += over j, O += over j
  l follows m: l * exp2(old m - new m)
2 passes over the streams: c needs a further pass after l
  its dependence is no factor of its own: relu(...)
"""

from __future__ import annotations

from collections.abc import Iterator

from attn_dsl.analysis.passes import NEW, OLD, Break, Fold, PassAnalysis
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.expr import Expr, Read
from attn_dsl.ir.printer import print_expr
from attn_dsl.ir.walk import transform


def describe_passes(cascade: Cascade, analysis: PassAnalysis) -> str:
    """What runs in each pass, how it follows what changes meanwhile, and why a further pass is needed."""
    lines: list[str] = []
    for number in range(analysis.count):
        targets = [t for t in analysis.order if analysis.level[t] == number]
        lines.append(f"pass {number + 1}: {', '.join(_reduction(cascade, t) for t in targets)}")
        lines += [f"  {_fold(analysis.folds[t])}" for t in targets if t in analysis.folds]
        lines += [line for b in analysis.breaks if b.target in targets for line in _break(b)]
    return "\n".join(lines)


def _reduction(cascade: Cascade, target: str) -> str:
    parts = [s for s in cascade.definitions(target) if isinstance(s, Einsum) and s.reduce is not None]
    over = dict.fromkeys(i for s in parts for i in s.over)
    return f"{target} {parts[0].reduce}= over {', '.join(over)}" if parts and over else target


def _fold(fold: Fold) -> str:
    sign = "*" if fold.kind == "ratio" else "+"
    correction = print_expr(transform(fold.correction, _in_words))
    return f"{fold.target} follows {' and '.join(fold.on)}: {fold.target} {sign} {correction}"


def _in_words(node: Expr) -> Expr:
    """``old:m`` and ``new:m`` under names that can stand in a formula."""
    match node:
        case Read(tensor=tensor, indices=indices) if tensor.startswith((OLD, NEW)):
            return Read(tensor.replace(":", "_"), indices)
        case _:
            return node


def _break(found: Break) -> Iterator[str]:
    yield f"  {found.target} waits for {' and '.join(found.needs)}, because {found.reason}"
