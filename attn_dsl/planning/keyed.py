"""Keyed reductions: what a statement sends to computed places.

    D[b, h, i - j + size(j) - 1] += P[b,h,i,j]

Where the elements of a pair tensor go is known only as they are computed. So one of the summed indices
becomes a row, as if the target kept it, another is streamed, and each tile sends what it has to its places:

    D[b,h,i] += P[b,h,i,j]      sent to  [b, h, i - j + size(j) - 1]

Sums of floats depend on their order, and the order on which program was first. A CPU therefore sums in a
fixed number of parts, each by one thread; a GPU adds integers, the digits of an exact sum (Kulisch, "Computer
Arithmetic and Validity", 2008). Both give the same bits every time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Cascade, Einsum, Reduction, Sending, Statement
from attn_dsl.ir.expr import IndexVar
from attn_dsl.ir.walk import index_names
from attn_dsl.planning.binding import means_as_sums
from attn_dsl.planning.dependence import Dependence
from attn_dsl.planning.roles import is_feature
from attn_dsl.rewrites import normal_form
from attn_dsl.rewrites.definitions import fresh_name, statement_reads


def kernel_form(cascade: Cascade) -> Cascade:
    """The normal form in which kernels are planned: means as sums over counts, keyed sums as rows and
    places."""
    return with_sendings(means_as_sums(normal_form(cascade)))


def with_sendings(cascade: Cascade) -> Cascade:
    """The cascade with every keyed reduction as one that keeps a row, and the places it is sent to beside
    it."""
    keyed = {s.target for s in cascade.statements if isinstance(s, Einsum) and s.is_keyed}
    if not keyed:
        return cascade
    flow = Dependence(cascade)
    statements: list[Statement] = []
    sendings: list[Sending] = []
    for statement in cascade.statements:
        if statement.target not in keyed:
            _refuse_reads(statement, keyed)
            statements.append(statement)
            continue
        assert isinstance(statement, Einsum)
        _refuse_unsupported(statement, cascade)
        taken = [s.statement for s in sendings]
        name = (
            statement.target
            if statement.target not in taken
            else fresh_name(cascade, statement.target, taken)
        )
        sent = _with_row(flow, statement)
        statements.append(replace(sent, target=name))
        sendings.append(Sending(name, statement.target, statement.dims, statement.keys))
    return replace(cascade, statements=tuple(statements), sendings=tuple(sendings))


def _with_row(flow: Dependence, statement: Einsum) -> Einsum:
    own = tuple(k.name for k in statement.keys if isinstance(k, IndexVar))
    placed = (n for k in statement.keys for n in index_names(k))
    space = tuple(dict.fromkeys((*own, *placed, *statement.over)))
    rows = _rows(flow, own, tuple(i for i in space if not is_feature(flow, i)))
    dims = (*rows, *(i for i in own if i not in rows))
    keys = tuple(IndexVar(d) for d in dims)
    return replace(statement, dims=dims, keys=keys, over=tuple(i for i in space if i not in dims))


def _rows(flow: Dependence, own: tuple[str, ...], sequences: tuple[str, ...]) -> tuple[str, ...]:
    """The indices that are not streamed: those of a reduction over the others, whose kernel may then do both
    (of such kernels the one with the fewest results); else all but the last that is summed."""
    found: Counter[tuple[str, ...]] = Counter()
    for reduction in flow.reductions:
        kept = tuple(d for d in flow.dims(reduction) if not is_feature(flow, d))
        over = {*sequences} - {*kept}
        same = over == {*flow.over(reduction)} & {*sequences} and {*kept} <= {*sequences}
        if kept and over and same and not over & {*own}:
            found[kept] += 1
    if found:
        return min(found, key=found.__getitem__)
    summed = [i for i in sequences if i not in own]
    return sequences if len(summed) < 2 else tuple(i for i in sequences if i != summed[-1])


def _refuse_unsupported(statement: Einsum, cascade: Cascade) -> None:
    if statement.reduce is not Reduction.SUM:
        operator = "" if statement.reduce is None else f" by '{statement.reduce.value}='"
        raise NotLoweredError(
            Diagnostic(
                f"the keyed reduction into '{statement.target}'{operator} is not lowered to a kernel yet",
                statement.span,
                "a keyed sum, '+=', is; or give the target plain indices and select the elements with 'where'",
            )
        )
    if statement.target not in {o.name for o in cascade.outputs}:
        _refuse(statement.target, statement)


def _refuse_reads(statement: Statement, keyed: set[str]) -> None:
    for tensor in sorted(statement_reads(statement) & keyed):
        _refuse(tensor, statement)


def _refuse(tensor: str, statement: Statement) -> None:
    raise NotLoweredError(
        Diagnostic(
            f"'{tensor}' is a keyed reduction, which kernels give as an output only",
            statement.span,
            f"make '{tensor}' an output, and use it in another attention",
        )
    )
