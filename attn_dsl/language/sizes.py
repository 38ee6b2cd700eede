"""The extents of indices: which follow from the shapes of the inputs, which from ``index`` lines.

input Q[b, (g r), i, d]      b, i and d are given; g and r only as a product
index r < 8                  now r is given, and g follows
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_dsl.ir.cascade import Index
from attn_dsl.ir.expr import SizeOf, Span
from attn_dsl.ir.walk import index_names, tensors_read, walk
from attn_dsl.language import syntax as s
from attn_dsl.language.environment import Bindings, Environment, Problem

if TYPE_CHECKING:
    from attn_dsl.language.resolve import Resolver

SIZES = "a size is made of numbers, params and sizes of other indices"


def resolve_sizes(resolver: Resolver, lines: list[s.IndexLine]) -> None:
    """Resolve the ``index`` lines, and report every index whose extent does not follow from the inputs."""
    env = resolver.env
    for line in lines:
        if not resolver.attempt(lambda line=line: _resolve(resolver, line)):
            env.failed.add(line.name)
    known = _known(env)
    unknown = [index for index in env.indices.values() if index.name not in known | env.failed]
    shown: set[Span | None] = set()  # of the members of a composite, one size to declare is enough
    for index in reversed([index for index in unknown if index.size is None] or unknown):
        if index.span not in shown:
            resolver.problems.append(_no_size(env, index).diagnostic)
        shown.add(index.span)


def _resolve(resolver: Resolver, line: s.IndexLine) -> None:
    terms = resolver.terms
    size = terms.integer(terms.resolve(line.size, Bindings()), "the size of an index")
    limited = bool(tensors_read(size))
    if not limited and index_names(size):
        raise Problem("the size of an index does not vary with another", size.span,
                      f"restrict it where it is used: where {line.name} < ...")  # fmt: skip
    resolver.env.indices[line.name] = Index(
        line.name, None if limited else size, size if limited else None, line.span
    )


def _known(env: Environment) -> set[str]:
    """The indices whose extents follow, found in rounds until none is added."""
    known = {index.name for index in env.indices.values() if index.limit is not None}
    axes = [axis for tensor in env.inputs.values() for axis in tensor.axes]
    before = -1
    while len(known) != before:
        before = len(known)
        for axis in axes:
            waiting = [name for name in axis.indices if name not in known]
            if len(waiting) == 1 and env.indices[waiting[0]].size is None:
                known.add(waiting[0])
        known |= {index.name for index in env.indices.values() if _follows(index, known)}
    return known


def _follows(index: Index, known: set[str]) -> bool:
    if index.size is None:
        return False
    return {node.index for node in walk(index.size) if isinstance(node, SizeOf)} <= known


def _no_size(env: Environment, index: Index) -> Problem:
    if index.size is not None:
        return Problem(f"the size of '{index.name}' depends on itself", index.span, SIZES)
    help = f"index {index.name} < ..."
    if any(index.name in tensor.dims for tensor in env.inputs.values()):
        return Problem(f"the inputs give the size of '{index.name}' only in a product", index.span, help)
    return Problem(f"index '{index.name}' has no size", index.span, help)
