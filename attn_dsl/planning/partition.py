"""Cut a cascade into kernels.

Streamed reductions that keep the same indices, and read one another only at those indices, share a kernel.
Where one is read elsewhere (a statistic of row i read at key j), it is finished and stored by an earlier
kernel and read as a tensor by the later one. Pointwise tensors and inner contractions belong to no kernel:
each kernel that needs them computes them on its own tiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from attn_dsl.analysis.logic import PRESENT
from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Cascade, Einsum, Ranking
from attn_dsl.ir.expr import Expr, IndexVar, Read
from attn_dsl.ir.in_order import InOrder
from attn_dsl.ir.walk import index_names, substitute, walk
from attn_dsl.planning.dependence import Dependence, expressions
from attn_dsl.planning.extents import Extents
from attn_dsl.planning.roles import Roles, assign_roles, split_rows


@dataclass(frozen=True, slots=True)
class KernelPlan:
    """One kernel: what it computes, what it stores, and the part each index plays.

    ``targets``: streamed reductions, in order. ``stores``: tensors written to memory. ``pair_stores``: those
    of them that carry a stream and are written inside its loop. ``available``: streamed tensors that
    earlier kernels have stored. ``few_rows``: there is one query, and the rows are heads at most.
    """

    programs: tuple[str, ...]
    rows: tuple[str, ...]
    targets: tuple[str, ...]
    stores: tuple[str, ...]
    pair_stores: tuple[str, ...]
    available: frozenset[str]
    few_rows: bool = False

    def __str__(self) -> str:
        told = (self.programs, self.rows, self.targets, self.stores, self.pair_stores, sorted(self.available))
        return f"{told} {self.few_rows}"


@dataclass(slots=True)
class _Draft:
    kept: frozenset[str]
    targets: list[str] = field(default_factory=list)
    stores: list[str] = field(default_factory=list)
    pair_stores: list[str] = field(default_factory=list)


def partition(cascade: Cascade, flow: Dependence, extents: Extents) -> tuple[Roles, tuple[KernelPlan, ...]]:
    """Assign every streamed reduction and every output to a kernel. NotLoweredError names what cannot be."""
    _refuse_unsupported(cascade)
    roles = assign_roles(flow, extents)
    drafts: list[_Draft] = []
    home: dict[str, int] = {}
    for target in roles.streamed:
        earliest = _earliest(flow, roles, home, target, drafts)
        home[target] = _place(flow, roles, drafts, target, earliest)
    sent = {s.tensor for s in cascade.sendings}
    for name in (
        *(o.name for o in cascade.outputs if o.name not in sent),
        *(s.statement for s in cascade.sendings),
    ):
        if name in home and cascade.sending(name) is not None:
            continue  # sent to its places as it is computed
        _place_output(flow, roles, drafts, home, name)
    _store_shared(flow, roles, drafts, home)
    return roles, tuple(_finish(flow, roles, extents, drafts, i) for i in range(len(drafts)))


def leaf_reads(flow: Dependence, roles: Roles, expr: Expr) -> Iterator[Read]:
    """The reads of inputs and streamed tensors that evaluating an expression on a tile makes, with their
    slots expressed in the indices of the expression, each once."""
    known = flow.cascade.known.setdefault("leaf reads", {})
    if roles not in known:
        known[roles] = _Leaves(flow, roles)
    yield from known[roles].of(expr)


class _Leaves:
    """What the tensors that are looked through read, found for each once, in the order of the statements."""

    def __init__(self, flow: Dependence, roles: Roles) -> None:
        self._flow = flow
        self._ends = {*roles.streamed, *flow.cascade.saved}
        self._behind_tensor = InOrder(flow.cascade, self._tensor)

    def of(self, expr: Expr) -> tuple[Read, ...]:
        """The reads of an expression."""
        found: dict[Read, None] = {}
        for node in walk(expr):
            if isinstance(node, Read):
                found |= dict.fromkeys(self._behind(node))
        return tuple(found)

    def _behind(self, read: Read) -> tuple[Read, ...]:
        if read.tensor.startswith(PRESENT):
            read = Read(read.tensor.removeprefix(PRESENT), read.indices, read.span)
        if read.tensor not in self._flow.by_target or read.tensor in self._ends:
            return (read,)
        leaves = self._behind_tensor[read.tensor]
        dims = self._flow.dims(read.tensor)
        values = {d: slot for d, slot in zip(dims, read.indices, strict=True) if slot != IndexVar(d)}
        return tuple(_moved(leaf, values) for leaf in leaves) if values else leaves

    def _tensor(self, name: str) -> tuple[Read, ...]:
        parts = (e for part in self._flow.by_target[name] for e in expressions(part))
        return tuple(dict.fromkeys(r for e in parts for r in self.of(e)))


def _moved(read: Read, values: Mapping[str, Expr]) -> Read:
    return replace(read, indices=tuple(substitute(slot, values) for slot in read.indices))


def _refuse_unsupported(cascade: Cascade) -> None:
    for statement in cascade.statements:
        if isinstance(statement, Ranking):
            raise NotLoweredError(
                Diagnostic(
                    f"'{statement.kind.value}' is not lowered to a kernel yet",
                    statement.span,
                    "evaluate it with .reference(...), or pass the selection as a boolean input",
                )
            )


def _kept(flow: Dependence, roles: Roles, tensor: str) -> frozenset[str]:
    return frozenset(flow.dims(tensor)) - roles.whole


def _reads_of(flow: Dependence, roles: Roles, tensor: str) -> Iterator[Read]:
    for part in flow.by_target[tensor]:
        for expr in flow.evaluated(part):
            yield from leaf_reads(flow, roles, expr)


def _at_own_place(flow: Dependence, read: Read) -> bool:
    return read.indices == tuple(IndexVar(d) for d in flow.dims(read.tensor))


def _earliest(flow: Dependence, roles: Roles, home: dict[str, int], tensor: str, drafts: list[_Draft]) -> int:
    """The first kernel at which everything the tensor reads from other kernels is there."""
    first = 0
    kept = _kept(flow, roles, tensor)
    has_loop = bool(flow.over(tensor) & roles.streams)  # what has none is computed before any
    for read in _reads_of(flow, roles, tensor):
        if read.tensor in home:
            at = home[read.tensor]
            shares = has_loop and _at_own_place(flow, read) and drafts[at].kept == kept
            first = max(first, at if shares else at + 1)
    return first


def _place(flow: Dependence, roles: Roles, drafts: list[_Draft], target: str, earliest: int) -> int:
    kept = _kept(flow, roles, target)
    for at in range(earliest, len(drafts)):
        if drafts[at].kept == kept and _streams_agree(flow, roles, drafts[at], target):
            drafts[at].targets.append(target)
            return at
    drafts.append(_Draft(kept, [target]))
    return len(drafts) - 1


def _streams_agree(flow: Dependence, roles: Roles, draft: _Draft, target: str) -> bool:
    """Loops over the same or over disjoint streams fit in one kernel; overlapping ones do not."""
    mine = contribution_streams(flow, roles, target)
    theirs = {s for t in draft.targets for s in contribution_streams(flow, roles, t)}
    return all(a == b or not a & b for a in mine for b in theirs)


def contribution_streams(flow: Dependence, roles: Roles, target: str) -> tuple[frozenset[str], ...]:
    """The stream of each contribution to a streamed tensor, without those that have none."""
    parts = (s for s in flow.by_target[target] if isinstance(s, Einsum))
    streams = dict.fromkeys(frozenset(p.over) & roles.streams for p in parts)
    return tuple(s for s in streams if s)


def _place_output(
    flow: Dependence, roles: Roles, drafts: list[_Draft], home: dict[str, int], name: str
) -> None:
    if name in home:
        _append(drafts[home[name]].stores, name)
        return
    reads = [r for r in _reads_of(flow, roles, name) if r.tensor in home]
    kept = _kept(flow, roles, name)
    at = max((home[r.tensor] for r in reads), default=-1)
    if at >= 0 and drafts[at].kept <= kept:
        rest = kept - drafts[at].kept
        streams = {s for t in drafts[at].targets for s in contribution_streams(flow, roles, t)}
        local = all(_at_own_place(flow, r) for r in reads if home[r.tensor] == at)
        features = _rows_of_matrices(flow, roles, drafts[at].targets)[-1:] if drafts[at].targets else ()
        local = local and not _reduces(flow, (name,), {*home}, features)
        if local and (not rest or rest in streams):
            _append(drafts[at].stores, name)
            if rest:
                _append(drafts[at].pair_stores, name)
            return
    drafts.append(_Draft(kept, stores=[name]))


def _append(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _store_shared(flow: Dependence, roles: Roles, drafts: list[_Draft], home: dict[str, int]) -> None:
    """Every streamed tensor that another kernel reads is stored by its own."""
    for at, draft in enumerate(drafts):
        for tensor in (*draft.targets, *draft.stores):
            for read in sorted(_all_reads(flow, roles, tensor)):
                if read in home and home[read] != at:
                    _append(drafts[home[read]].stores, read)


def _all_reads(flow: Dependence, roles: Roles, tensor: str) -> set[str]:
    found = {r.tensor for r in _reads_of(flow, roles, tensor)}
    for part in flow.by_target[tensor]:
        if isinstance(part, Einsum):
            found |= {
                n.tensor.removeprefix(PRESENT) for n in walk(flow.guards.of(part)) if isinstance(n, Read)
            }
    return found


def _reduces(flow: Dependence, names: Iterable[str], ends: set[str], indices: tuple[str, ...]) -> bool:
    """Whether computing these tensors, from inputs and ``ends``, reduces any of the indices."""
    pending, seen = [*names], set[str]()
    while pending:
        tensor = pending.pop()
        if tensor in seen or tensor not in flow.by_target:
            continue
        if flow.over(tensor) & {*indices}:
            return True
        seen.add(tensor)
        pending += [t for t in flow.direct(tensor) if t not in ends]
    return False


def _rows_of_matrices(flow: Dependence, roles: Roles, targets: list[str]) -> tuple[str, ...]:
    """The features that all targets keep, if each keeps several: a matrix of these, such as the gradient of a
    projection, has rows of its own."""
    kept = [{*flow.dims(t)} & roles.whole for t in targets]
    common = set[str].intersection(*kept) if all(len(k) > 1 for k in kept) else set[str]()
    return tuple(d for d in flow.dims(targets[0]) if d in common)


def _free(flow: Dependence, roles: Roles, targets: list[str], streams: frozenset[str]) -> frozenset[str]:
    """The kept indices that nothing streamed carries: the positions of a row, where a head is one of both
    sides."""
    kept = {d for t in targets for d in flow.dims(t)}
    for read in (r for t in targets for r in _reads_of(flow, roles, t)):
        names = {n for slot in read.indices for n in index_names(slot)}
        kept -= names if names & streams else set()
    return frozenset(kept)


def _finish(flow: Dependence, roles: Roles, extents: Extents, drafts: list[_Draft], at: int) -> KernelPlan:
    draft = drafts[at]
    lead = (draft.targets or draft.stores)[0]
    kept = tuple(d for d in flow.dims(lead) if d in draft.kept)
    streams = frozenset(s for t in draft.targets for s in flow.over(t) & roles.streams)
    few = False
    if draft.targets:
        programs, rows, few = split_rows(flow, extents, kept, streams, roles.whole)
        features = _rows_of_matrices(flow, roles, draft.targets)
        own = {*rows} & (flow.positional | _free(flow, roles, draft.targets, streams))
        available = {s for d in drafts[:at] for s in d.stores}
        if features and not own and not _reduces(flow, draft.targets, available, features[-1:]):
            programs, rows, few = kept, features[-1:], False
    else:
        programs, rows = kept[:-1], kept[-1:]
    available = frozenset(flow.cascade.saved) | {s for d in drafts[:at] for s in d.stores}
    return KernelPlan(
        programs, rows, tuple(draft.targets), tuple(draft.stores), tuple(draft.pair_stores), available, few
    )
