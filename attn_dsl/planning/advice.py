"""What is legal and slower than it need be, as warnings: each at its place, with what to write instead.

masks      a condition that gives a loop no bound, so that tiles are tested one by one
passes     a reduction that needs a pass of its own, and the operand that prevents the fold
gathers    elements that are fetched one by one from places of their own
pairs      a tensor over two lengths that is stored, though the file does not ask for it
repeats    a reduction that every tile of rows computes anew, though it is the same for all of them
features   a declared size that leaves most of its padding empty
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attn_dsl.analysis.iteration import plan_iteration
from attn_dsl.analysis.logic import PRESENT
from attn_dsl.analysis.passes import Break
from attn_dsl.analysis.predicates import is_integral
from attn_dsl.analysis.presence import truth
from attn_dsl.errors import Diagnostic
from attn_dsl.ir.cascade import Cascade, Einsum
from attn_dsl.ir.expr import Cast, Const, Expr, IndexVar, Op, ParamRef, Read, Span
from attn_dsl.ir.printer import print_expr
from attn_dsl.ir.walk import index_names, tensors_read, walk
from attn_dsl.planning.dependence import Dependence
from attn_dsl.planning.extents import FEW
from attn_dsl.planning.partition import KernelPlan
from attn_dsl.planning.plan import ProgramPlan, plan
from attn_dsl.planning.roles import Roles, is_of_pairs

Params = Mapping[str, int | float | bool]
_WASTE = 0.4  # of the padded lanes
_LEAST_LANES = 16
EXAMPLE_LENGTH = 4096


def advice(cascade: Cascade, params: Params) -> tuple[Diagnostic, ...]:
    """The warnings about a cascade that becomes kernels, by line. ``params``: a value for each."""
    planned = plan(cascade, params)
    roles = planned.roles
    loops = dict.fromkeys(frozenset().union(*planned.streams(k).values()) for k in planned.kernels)
    found = [
        *(d for streams in loops for d in _masks(cascade, streams, params)),
        *_gathers(cascade, roles.streams),
        *_features(cascade, roles.whole, params),
    ]
    for kernel in planned.kernels:
        found += [*_pairs(planned, kernel), *_repeats(planned.flow, roles, kernel)]
        if kernel.targets:
            found += [_pass(b, planned.cascade) for b in planned.passes(kernel).breaks]
    unique = dict.fromkeys(found)
    return tuple(sorted(unique, key=lambda d: (d.span.line, d.span.column) if d.span else (0, 0)))


def _warning(message: str, span: Span | None, help: str) -> Diagnostic:
    return Diagnostic(message, span, help, severity="warning")


# masks


def _masks(cascade: Cascade, streams: frozenset[str], params: Params) -> Iterator[Diagnostic]:
    for statement in cascade.statements:
        if statement.where is None:
            continue
        predicate = truth(statement.where, cascade)
        order = tuple(n for n in index_names(predicate) if n in streams)
        for term in plan_iteration(predicate, order, params, cascade).terms:
            for atom in term.residual:
                yield from _condition(atom, statement.span, cascade, frozenset(order))


def _condition(
    atom: Expr, statement: Span | None, cascade: Cascade, streams: frozenset[str]
) -> Iterator[Diagnostic]:
    """Why a condition gives no bound. What is computed on the way has no other form, and is not spoken of."""
    computed = {s.target for s in cascade.statements}
    reads = [n for n in walk(atom) if isinstance(n, Read)]
    if any(t.startswith(PRESENT) for t in tensors_read(atom)):
        return
    if any(r.tensor in computed and streams & set(index_names(r)) for r in reads):
        return
    own = atom.span if atom.span is not None and statement and atom.span.file == statement.file else statement
    names = " and ".join(n for n in index_names(atom) if n in streams)
    why, help = _reason(atom, streams, cascade)
    text = print_expr(atom)
    yield _warning(f"'{text}' bounds no range of {names}, so every tile is tested: {why}", own, help)


def _reason(atom: Expr, streams: frozenset[str], cascade: Cascade) -> tuple[str, str]:
    reads = [n for n in walk(atom) if isinstance(n, Read) and set(index_names(n)) & streams]
    if reads:
        data = print_expr(reads[0])
        row = "start[b, i] <= j" if len(reads[0].indices) > 1 else "start[i] <= j"
        return (
            f"{data} may hold anything in any order",
            f"where it ascends, pass the first and last place of each row: {row} and so on",
        )
    for node in walk(atom):
        if isinstance(node, Op) and node.name == "mod" and set(index_names(node)) & streams:
            stream = next(n for n in index_names(node) if n in streams)
            step = print_expr(node.args[1])
            return (
                "a remainder comes again and again",
                f"make the remainder an index: declare (c t) for {stream}, with index t < {step}, and condition t",
            )
    if not is_integral(atom, cascade):
        return "it compares reals", _in_integers(atom, streams, cascade)
    several = [n for n in index_names(atom) if n in streams]
    if len(several) > 1:
        return "it ties two indices of the loop to each other", "bound each of them by the row alone"
    return (
        f"it cannot be solved for {several[0]}",
        f"compare {several[0]} with an expression of the row: {several[0]} <= ...",
    )


_MIRRORED = {"le": "ge", "gt": "lt", "lt": "gt", "ge": "le"}


def _in_integers(atom: Expr, streams: frozenset[str], cascade: Cascade) -> str:
    """The same condition in integers, where one side is an integer and the other the row's."""
    if isinstance(atom, Op) and atom.name in _MIRRORED:
        a, b = atom.args
        for name, side, limit in ((atom.name, a, b), (_MIRRORED[atom.name], b, a)):
            if is_integral(side, cascade) and not streams & set(index_names(limit)):
                bound = Op(name, (side, _rounded(limit, up=name in ("lt", "ge"))))
                return f"an integer bounds it: {print_expr(bound)}"
    return "write the condition in integers"


def _rounded(limit: Expr, *, up: bool) -> Expr:
    """``n <= x`` is ``n <= floor(x)``, and ``n < x`` is ``n < -floor(-x)``."""
    if up:
        return Op("neg", (_rounded(Op("neg", (limit,)), up=False),))
    return Cast("i32", Op("floor", (limit,)))


# passes


def _pass(found: Break, cascade: Cascade) -> Diagnostic:
    parts = [s for s in cascade.definitions(found.target) if isinstance(s, Einsum)]
    over = ", ".join(dict.fromkeys(i for p in parts for i in p.over))
    needs, verb = " and ".join(found.needs), "enters" if len(found.needs) == 1 else "enter"
    message = f"{found.target} takes a further pass over {over}, after {needs}: {found.reason}"
    help = (
        f"a pass is saved where {needs} {verb} as a factor (or in the exponent of exp) that can be divided out when it "
        "changes"
    )
    return _warning(message, found.span, help)


# gathers


def _gathers(cascade: Cascade, streams: frozenset[str]) -> Iterator[Diagnostic]:
    """Reads whose place is itself read at a stream's own element; a page, read at ``j // size``, holds
    many."""
    inputs = {i.name for i in cascade.inputs}
    for statement in cascade.statements:
        for node in walk(statement.body):
            if not isinstance(node, Read) or node.tensor not in inputs:
                continue
            for slot in node.indices:
                for place in (n for n in walk(slot) if isinstance(n, Read)):
                    own = [s.name for s in place.indices if isinstance(s, IndexVar) and s.name in streams]
                    if own:
                        index, lists = own[-1], print_expr(place)
                        yield _warning(
                            f"every element along '{index}' of {node.tensor} lies at a place of its own, {lists}: a tile "
                            "is as many separate reads",
                            node.span or statement.span,
                            f"select blocks: {lists} * block + t, with index t < block, reads stretches of memory",
                        )


# pairs


def _pairs(planned: ProgramPlan, kernel: KernelPlan) -> Iterator[Diagnostic]:
    """What a kernel stores for another that has a length more than any argument or result."""
    flow, outputs = planned.flow, {o.name for o in planned.cascade.outputs}
    for tensor in kernel.stores:
        if tensor in outputs or tensor not in flow.by_target:
            continue
        first, dims = flow.by_target[tensor][0], flow.dims(tensor)
        combined = any({*pair} <= {*dims} for pair in planned.pairs)
        if not combined or not is_of_pairs(flow, planned.extents, tensor):
            continue
        over = " * ".join(f"size({d})" for d in dims)
        summed = " and ".join(flow.in_order(flow.over(tensor)))
        yield _warning(
            f"{tensor} is stored whole, {4 * EXAMPLE_LENGTH**2 // 2**20} MiB for each 4,096 x 4,096 of it "
            f"(4 bytes * {over})",
            first.span,
            f"where '{summed}' is short, as heads are, no more than {FEW}, it is computed anew in each tile; else project "
            "or reduce before scores are made",
        )


# repeats


def _repeats(flow: Dependence, roles: Roles, plan: KernelPlan) -> Iterator[Diagnostic]:
    """Reductions along a loop that no row of the kernel has a part in."""
    pending, seen = [*plan.targets, *plan.stores], set[str]()
    while pending:
        tensor = pending.pop()
        if tensor in seen or tensor in plan.available or tensor not in flow.by_target:
            continue
        seen.add(tensor)
        pending += flow.direct(tensor)
        dims = {*flow.dims(tensor)}
        own = tensor in plan.targets or tensor in plan.stores
        if len(flow.direct(tensor)) < 2:
            continue  # a norm, of a tile that is there anyway
        if own or not flow.over(tensor) or not plan.rows or dims & {*plan.rows} or not dims & roles.streams:
            continue
        rows = " and ".join(plan.rows)
        first = flow.by_target[tensor][0]
        yield _warning(
            f"{tensor} does not vary with {rows}, and every tile of {rows} computes it anew",
            first.span,
            f"compute {tensor} before and pass it as an input, or end the file earlier and project its result outside",
        )


# features


def _features(cascade: Cascade, whole: frozenset[str], params: Params) -> Iterator[Diagnostic]:
    for index in cascade.indices:
        size = _size(index.size, params)
        if index.name not in whole or size is None or size < 1:
            continue
        padded = max(_power_of_two(size), _LEAST_LANES)
        if (padded - size) / padded > _WASTE:
            below = _power_of_two(size) // 2
            yield _warning(
                f"'{index.name}' of size {size} is padded to {padded} lanes on a GPU, and "
                f"{1 - size / padded:.0%} of them compute nothing",
                index.span or _declared_at(cascade, index.name),
                f"{below} or {padded} fill their lanes; or sum over two indices, of {below} and {size - below}"
                if size > _LEAST_LANES
                else f"{_LEAST_LANES} fill their lanes",
            )


def _power_of_two(size: int) -> int:
    """The least that holds so many."""
    return 1 << (size - 1).bit_length()


def _size(expr: Expr | None, params: Params) -> int | None:
    match expr:
        case Const(value=int() as value):
            return int(value)
        case ParamRef(name=name):
            value = params[name]
            return value if isinstance(value, int) else None
        case _:
            return None


def _declared_at(cascade: Cascade, index: str) -> Span | None:
    return next((i.span for i in cascade.inputs if index in i.dims), None)
