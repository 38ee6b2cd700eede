"""Reverse mode: from a cascade to the cascade of its gradients.

For every statement, from the last to the first, the adjoint of its target is handed to what its body reads:

    Z[zd] += f(T[slots], ...)      gives      d_T[slots] += d_Z[zd] * ∂f/∂T      summed over the indices T lacks

A tensor without some of the indices of a sequence (a slope for each head, a bias without batch) would collect from
all rows at once; its adjoint instead keeps the indices of the rows, and they are summed at the end, in an order of
their own, so that the result does not depend on which program was first.

(Griewank and Walther, "Evaluating Derivatives", 2008, chapter 3, for programs; that the adjoint of an Einsum is an
Einsum is used by every tensor compiler.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from attn_dsl.analysis.logic import PRESENT, TRUE
from attn_dsl.analysis.presence import presence
from attn_dsl.differentiation.active import active_tensors, differentiable_inputs
from attn_dsl.differentiation.derivatives import by_zeros, factors
from attn_dsl.differentiation.local import Adjoint, Share
from attn_dsl.differentiation.places import Place, place_of, sent_place
from attn_dsl.differentiation.saved import nothing_given, presences_read
from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Axis, Cascade, Einsum, Index, Input, Output, Ranking, Reduction, Statement
from attn_dsl.ir.dtypes import Kind
from attn_dsl.ir.expr import Const, Expr, IndexVar, Op, Read, Select, SizeOf, Span
from attn_dsl.ir.kinds import Kinds
from attn_dsl.ir.slopes import ZERO, div, mul, sub
from attn_dsl.ir.validate import validated
from attn_dsl.ir.walk import index_names, tensors_read
from attn_dsl.planning.binding import means_as_sums
from attn_dsl.planning.dependence import Dependence
from attn_dsl.planning.extents import Extents
from attn_dsl.planning.keyed import with_sendings
from attn_dsl.planning.plan import planned
from attn_dsl.planning.roles import is_of_pairs
from attn_dsl.rewrites import normal_form
from attn_dsl.rewrites.algebra import conjunction
from attn_dsl.rewrites.definitions import fresh_name, statement_reads, whole_read


@dataclass(frozen=True, slots=True)
class Backward:
    """The backward pass.

    ``forward``: the cascade it differentiates, in normal form; beside its own outputs it gives the tensors ``kept``,
    which the backward pass reads. ``cascade``: what
    kernels compute, from the inputs, the adjoints of the outputs (``seeds``: output -> input) and what was kept.
    ``finish``: from its results to ``gradients`` (input -> result): the sums over rows of what many rows share,
    and what is sent to computed places; linear in their size. ``presences``: results of ``forward`` of which ``cascade``
    asks whether they exist, and the indices that this varies with.
    """

    forward: Cascade
    cascade: Cascade
    finish: Cascade
    gradients: dict[str, str]
    seeds: dict[str, str]
    kept: tuple[str, ...]
    presences: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class _Sent:
    """A result of the backward cascade, over these dims, and the places of an input it belongs at."""

    tensor: str
    dims: tuple[str, ...]
    keys: tuple[Expr, ...]

    @property
    def layout(self) -> tuple[str, ...]:
        """How it is stored: what is still to be summed outermost, so that features lie innermost as in the input."""
        placed = {n for key in self.keys for n in index_names(key)}
        return (*(d for d in self.dims if d not in placed), *(d for d in self.dims if d in placed))


def backward(
    cascade: Cascade,
    wanted: Iterable[str] | None = None,
    real: str = "f32",
    outputs: Iterable[str] | None = None,
) -> Backward:
    """The backward pass for the inputs ``wanted`` (default: all floating ones), from the adjoints of ``outputs`` (all). ``real``: the dtype of accumulators,
    in which what was kept and what is still to be summed are stored. NotLoweredError names the statement that has
    no derivative here."""
    forward = means_as_sums(normal_form(cascade))
    names = tuple(differentiable_inputs(cascade) if wanted is None else wanted)
    seeded = frozenset(o.name for o in forward.outputs) if outputs is None else frozenset(outputs)
    return _Reverse(forward, frozenset(names), real, seeded).run()


class _Reverse:
    def __init__(self, forward: Cascade, wanted: frozenset[str], real: str, seeded: frozenset[str]) -> None:
        self._forward = forward
        self._seeded = seeded
        self._real = real
        self._wanted = wanted
        whole = nothing_given(forward)
        self._flow = Dependence(whole)
        plan = planned(with_sendings(whole))
        self._roles, self._rows = plan.roles, plan.rows
        self._first_rows = frozenset(plan.kernels[0].rows)
        self._pairs = plan.pairs
        self._kinds = Kinds(forward)
        self._active = active_tensors(forward, wanted)
        self._adjoint = Adjoint(self._active.__contains__, lambda r: presence(r, forward) == TRUE)
        self._statements: list[Statement] = []
        self._inputs: list[Input] = []
        self._indices: list[Index] = []
        self._names: set[str] = set()
        self._helpers: dict[str, str] = {}
        # For each tensor: its adjoints by the further indices they keep.
        self._adjoints: dict[str, dict[tuple[str, ...], str]] = {}
        # The indices that are new, and those of the mechanism whose part they play.
        self._origins: dict[str, str] = {}
        # What inputs receive at computed places.
        self._scattered: list[tuple[str, _Sent]] = []

    def run(self) -> Backward:
        """Statement by statement, the last first."""
        seeds = self._seeds()
        for statement in reversed(self._forward.statements):
            for extra, name in list(self._adjoints.get(statement.target, {}).items()):
                if isinstance(statement, Einsum) and set(extra) & set(statement.over):
                    self._differentiate(statement, self._summed(name, statement, extra), ())
                else:
                    self._differentiate(statement, name, extra)
        kept = self._kept()
        sent = {i.name: found for i in self._forward.inputs if (found := self._sent(i))}
        direct = {n: parts[0].tensor for n, parts in sent.items() if self._is_whole(n, parts)}
        finish, finished = self._finish({n: parts for n, parts in sent.items() if n not in direct})
        results = [self._direct_result(n, t) for n, t in direct.items()]
        results += [
            self._result(p.tensor, p.layout) for n, parts in sent.items() if n not in direct for p in parts
        ]
        cascade = self._cascade(results + self._kept_results(kept), kept)
        presences = presences_read(cascade, {*self._roles.streamed})
        cascade = replace(cascade, saved=(*kept, *(PRESENT + t for t, _ in presences)))
        training = self._training(kept)
        for derived in (training, cascade, finish):
            validated(derived)
        return Backward(training, cascade, finish, direct | finished, seeds, kept, presences)

    def _sent(self, declared: Input) -> list[_Sent]:
        """What an input receives."""
        if declared.name not in self._wanted:
            return []
        own = tuple(IndexVar(d) for d in declared.dims)
        found = [
            _Sent(adjoint, (*declared.dims, *extra), own)
            for extra, adjoint in self._adjoints.get(declared.name, {}).items()
        ]
        return found + [s for t, s in self._scattered if t == declared.name]

    def _is_whole(self, name: str, parts: list[_Sent]) -> bool:
        """Whether what kernels compute is the gradient itself."""
        declared = self._forward.input(name)
        assert declared is not None
        return (
            len(parts) == 1 and parts[0].dims == declared.dims and parts[0].keys == _plain_keys(declared.dims)
        )

    def _direct_result(self, name: str, tensor: str) -> Output:
        declared = self._forward.input(name)
        assert declared is not None
        return Output(tensor, declared.axes, declared.dtype)

    # what is kept

    def _kept(self) -> tuple[str, ...]:
        """What the forward pass stores for the backward pass: of what that reads, the reductions over a stream that
        are no pairs, and the outputs. All else is computed anew from these."""
        extents = Extents(self._forward)
        linear = {t for t in self._roles.streamed if not is_of_pairs(self._flow, extents, t)}
        storable = linear | {o.name for o in self._forward.outputs}
        table = self._flow.by_target
        pending = [t for s in self._statements for t in statement_reads(s)]
        seen: set[str] = set()
        while pending:
            tensor = pending.pop()
            if tensor in seen or tensor not in table:
                continue
            seen.add(tensor)
            if tensor not in storable:
                pending += [t for s in table[tensor] for t in statement_reads(s)]
        return tuple(t for t in table if t in seen and t in storable)

    def _training(self, kept: tuple[str, ...]) -> Cascade:
        """The forward pass with what it keeps."""
        outputs = {o.name for o in self._forward.outputs}
        further = [o for o in self._kept_results(kept) if o.name not in outputs]
        return replace(self._forward, outputs=(*self._forward.outputs, *further))

    # the parts of the new cascade

    def _finish(self, sent: dict[str, list[_Sent]]) -> tuple[Cascade, dict[str, str]]:
        """From what inputs are sent to their gradients, in the inputs' own layouts."""
        forward = self._forward
        statements: list[Statement] = []
        outputs: list[Output] = []
        names: dict[str, str] = {}
        read = {t for i in self._all_indices() for e in (i.size, i.limit) for t in tensors_read(e)}
        for name, parts in sent.items():
            declared = forward.input(name)
            assert declared is not None
            names[name] = self._fresh(f"gradient_{name}")
            for part in parts:
                read |= {t for key in part.keys for t in tensors_read(key)}
                placed = {n for key in part.keys for n in index_names(key)}
                over = tuple(d for d in part.dims if d not in placed)
                body = whole_read(part.tensor, part.layout)
                statements.append(Einsum(names[name], declared.dims, part.keys, Reduction.SUM, over, body))
            outputs.append(Output(names[name], declared.axes))
        parts = dict.fromkeys((p.tensor, p.layout) for found in sent.values() for p in found)
        inputs = [Input(tensor, tuple(Axis((d,)) for d in dims)) for tensor, dims in parts]
        cascade = replace(
            forward,
            name=f"{forward.name}_gradients",
            inputs=(*(i for i in forward.inputs if i.name in read), *inputs),
            indices=self._all_indices(),
            statements=tuple(statements),
            outputs=tuple(outputs),
            masks=(),
            saved=(),
        )
        return cascade, names

    def _all_indices(self) -> tuple[Index, ...]:
        return (*self._forward.indices, *self._indices)

    def _cascade(self, results: list[Output], kept: tuple[str, ...]) -> Cascade:
        forward = self._forward
        return replace(
            forward,
            name=f"{forward.name}_backward",
            inputs=(*forward.inputs, *self._inputs),
            indices=self._all_indices(),
            statements=(*forward.statements, *_plain(self._statements)),
            outputs=tuple(results),
            saved=kept,
        )

    def _result(self, tensor: str, dims: tuple[str, ...], dtype: str | None = None) -> Output:
        return Output(tensor, tuple(Axis((d,)) for d in dims), dtype or self._real)

    def _kept_results(self, kept: tuple[str, ...]) -> list[Output]:
        outputs = {o.name: o for o in self._forward.outputs}
        return [outputs.get(t) or self._result(t, self._flow.dims(t), self._stored_as(t)) for t in kept]

    def _stored_as(self, tensor: str) -> str:
        """The dtype in which a result of the forward pass is kept."""
        kinds = {Kind.BOOLEAN: "bool", Kind.INTEGER: "i64"}
        return kinds.get(self._kinds.of(Read(tensor, ())), self._real)

    def _seeds(self) -> dict[str, str]:
        seeds: dict[str, str] = {}
        for output in self._forward.outputs:
            if output.name not in self._active & self._seeded or output.name in self._forward.saved:
                continue
            name = self._fresh(f"grad_{output.name}")
            seeds[output.name] = name
            self._inputs.append(Input(name, output.axes, output.dtype))
            dims = self._flow.dims(output.name)
            laid_out = tuple(i for axis in output.axes for i in axis.indices)
            read = Read(name, tuple(IndexVar(i) for i in laid_out))
            self._add(output.name, Place(dims), read, None, (), None)
        return seeds

    def _fresh(self, wanted: str) -> str:
        name = fresh_name(self._forward, wanted, self._names)
        self._names.add(name)
        return name

    # one statement

    def _differentiate(self, statement: Statement, adjoint: str, extra: tuple[str, ...]) -> None:
        if isinstance(statement, Ranking):
            return
        if statement.is_keyed and statement.reduce is not Reduction.SUM:
            raise _unsupported("a keyed reduction other than '+=' has no gradient yet", statement.span)
        read = Read(adjoint, (*statement.keys, *_plain_keys(extra)))
        seed, value = self._seed(statement, read)
        own = dict.fromkeys(n for key in statement.keys for n in index_names(key))
        space = (*own, *extra, *(i for i in statement.over if i not in own))
        for share in self._adjoint.shares(statement.body, seed, value):
            place = self._place(share.read, space)
            where = place.guard(statement.where)
            if place.computed:
                self._collect(share, place, where, space, statement)
                continue
            self._add(
                share.read.tensor, place, place.moved(share.amount), where, place.space(space), statement
            )

    def _place(self, read: Read, space: tuple[str, ...]) -> Place:
        """Where a read receives its adjoint. An entry of a table that pairs share (a bias at a distance) is sent what each pair
        has for it: to solve its place for the pairs would compute these anew, off the diagonal."""
        dims = self._dims_of(read.tensor)
        place = place_of(read, dims, space, self._forward, self._roles.streams)
        sides = {n for slot in read.indices for n in index_names(slot)} & (self._rows | self._roles.streams)
        pairs = bool(sides & self._rows) and bool(sides & self._roles.streams)
        is_table = self._forward.input(read.tensor) is not None and not self._roles.whole & {*dims}
        return sent_place(read) if place.solved and pairs and is_table else place

    def _collect(
        self, share: Share, place: Place, where: Expr | None, space: tuple[str, ...], statement: Einsum
    ) -> None:
        """What an input receives at computed places, by the indices that the places are computed from."""
        read = share.read
        declared = self._forward.input(read.tensor)
        if declared is None:
            raise _unsupported(
                f"'{read.tensor}' is computed, and read at computed places", read.span or statement.span
            )
        name = self._fresh(f"d_{read.tensor}_read")
        rest = tuple(i for i in space if i not in place.dims)
        over, extra = self._parted(place.dims, rest)
        if any({*pair} <= {*place.dims} for pair in self._pairs):
            # Computed from pairs, of which none are stored: a keyed sum.
            dims, keys = (*declared.dims, *extra), (*read.indices, *_plain_keys(extra))
            statement = Einsum(name, dims, keys, Reduction.SUM, over, share.amount, where, statement.span)
            self._statements.append(statement)
            self._scattered.append((read.tensor, _Sent(name, dims, _plain_keys(declared.dims))))
            return
        dims = (*place.dims, *extra)
        self._contribute(name, dims, over, share.amount, where, statement.span)
        self._scattered.append((read.tensor, _Sent(name, dims, read.indices)))

    def _summed(self, name: str, statement: Einsum, extra: tuple[str, ...]) -> str:
        """An adjoint without its further indices, where the statement reduces these itself."""
        total, is_new = self._named_once(f"{name}_sum")
        if is_new:
            dims = statement.dims
            self._contribute(total, dims, extra, whole_read(name, (*dims, *extra)), None, statement.span)
        return total

    def _named_once(self, wanted: str) -> tuple[str, bool]:
        """The one tensor that is wanted by this name, and whether it is still to be defined."""
        is_new = wanted not in self._helpers
        if is_new:
            self._helpers[wanted] = self._fresh(wanted)
        return self._helpers[wanted], is_new

    def _dims_of(self, tensor: str) -> tuple[str, ...]:
        return self._flow.dims(tensor)

    def _seed(self, statement: Einsum, adjoint: Read) -> tuple[Expr, Expr | None]:
        """What an element of the body receives, and how the body's value is best written."""
        own = whole_read(statement.target, statement.dims)
        alone = len(self._flow.by_target[statement.target]) == 1
        match statement.reduce:
            case None:
                return adjoint, own if alone else None
            case Reduction.SUM:
                return adjoint, None
            case Reduction.MAX | Reduction.MIN:
                return self._extremum_seed(statement, adjoint, own), None
            case Reduction.PRODUCT:
                return self._product_seed(statement, adjoint), None
            case _:
                raise _unsupported(f"'{statement.reduce.value}' has no gradient yet", statement.span)

    def _extremum_seed(self, statement: Einsum, adjoint: Read, own: Read) -> Expr:
        """An even share for each element that equals the extremum."""
        wins = Op("eq", (statement.body, own))
        count, is_new = self._named_once(f"{statement.target}_ties")
        if is_new:
            for part in self._flow.by_target[statement.target]:
                assert isinstance(part, Einsum)
                where = Op("eq", (part.body, own))
                where = where if part.where is None else Op("and", (part.where, where))
                self._statements.append(
                    replace(part, target=count, reduce=Reduction.SUM, body=Const(1.0), where=where)
                )
        return Select(wins, div(adjoint, whole_read(count, statement.dims)), ZERO)

    def _product_seed(self, statement: Einsum, adjoint: Read) -> Expr:
        """The product of the others, written so that it has the right derivative where elements are 0."""
        target, x = statement.target, statement.body
        named = {word: self._named_once(f"{target}_{word}") for word in factors(x)}
        if all(is_new for _, is_new in named.values()):
            for part in self._flow.by_target[target]:
                assert isinstance(part, Einsum)
                self._statements += [
                    replace(part, target=named[word][0], reduce=Reduction(kind), body=body)
                    for word, (kind, body) in factors(part.body).items()
                ]
        rest, zeros, zero = (name for name, _ in named.values())
        others, count, null = (whole_read(t, statement.dims) for t in (rest, zeros, zero))
        is_zero = Op("eq", (x, ZERO))
        one = Select(is_zero, others, mul(null, div(others, x)))
        two = Select(is_zero, mul(others, sub(null, x)), ZERO)
        return mul(adjoint, by_zeros(count, div(others, x), one, two))

    # adjoints

    def _add(
        self, tensor: str, place: Place, amount: Expr, where: Expr | None, space: tuple[str, ...],
        statement: Einsum | None,
    ) -> None:  # fmt: skip
        """``d_tensor[place] += amount``, over what of the space the place lacks."""
        span = None if statement is None else statement.span
        rest = tuple(i for i in space if i not in place.dims)
        over, extra = self._parted(place.dims, rest, tuple(index for index, _ in place.solved))
        dims = self._dims_of(tensor)
        for index, like in place.indices:
            self._declare(index, like)
        if place.dims == dims:
            name = self._adjoint_name(tensor, extra)
            self._contribute(name, (*dims, *extra), over, amount, where, span)
            return
        # At other indices than the tensor's own: collected there, then read from the tensor's own. What is kept beside
        # these is another index where it bears the name of one of them.
        moved = self._fresh(f"d_{tensor}_at_{'_'.join(place.dims) or 'once'}")
        self._contribute(moved, (*place.dims, *extra), over, amount, where, span)
        beside = tuple(self._renamed(i, {*dims, *extra} - {i}) if i in dims else i for i in extra)
        name = self._adjoint_name(tensor, beside)
        self._contribute(name, (*dims, *beside), (), whole_read(moved, (*dims, *beside)), None, span)

    def _renamed(self, index: str, taken: set[str]) -> str:
        """Another index of the same extent and part."""
        name = fresh_name(self._forward, index, taken)
        self._declare(Index(name, SizeOf(index)), index)
        return name

    def _declare(self, index: Index, like: str) -> None:
        self._origins[index.name] = self._origins.get(like, like)
        if index not in self._indices:
            self._indices.append(index)

    def _contribute(
        self, name: str, dims: tuple[str, ...], over: tuple[str, ...], amount: Expr, where: Expr | None, span: Span | None
    ) -> None:  # fmt: skip
        amount, asked = _asked_once(amount, over)
        guard = conjunction((where, *asked))
        self._statements.append(
            Einsum(name, dims, _plain_keys(dims), Reduction.SUM, over, amount, guard, span)
        )

    def _adjoint_name(self, tensor: str, extra: tuple[str, ...]) -> str:
        known = self._adjoints.setdefault(tensor, {})
        if extra not in known:
            known[extra] = self._fresh(f"d_{tensor}")
        return known[extra]

    def _parted(
        self, dims: tuple[str, ...], rest: tuple[str, ...], solved: tuple[str, ...] = ()
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Of the indices a contribution has beyond its target's: those summed now, those kept to the end. ``solved``:
        the indices in whose stead the target has its own."""
        sequences = self._rows | self._roles.streams
        mine = {self._origins.get(i, i) for i in (*dims, *solved)} & sequences
        others = {self._origins.get(i, i) for i in rest} & sequences
        if mine and others and not solved:  # of one side of the pairs: summed over the other side
            return rest, ()
        if mine and others:  # the same, by a table whose rows are few: the batch gives programs
            summed = self._roles.whole | sequences
        else:  # of both sides or of neither: a tile of rows gives its share, and the rows are summed at the end
            summed = self._roles.whole | (set() if mine else sequences - self._first_rows)
        now = {i for i in rest if self._origins.get(i, i) in summed}
        return tuple(i for i in rest if i in now), tuple(i for i in rest if i not in now)


def _asked_once(amount: Expr, over: tuple[str, ...]) -> tuple[Expr, tuple[Expr, ...]]:
    """What is summed where conditions hold that are the same for the whole sum, and these conditions: where they
    do not, nothing arrives, which to an adjoint is 0."""
    match amount:
        case Select(condition=c, then=a, otherwise=b) if (
            ZERO in (a, b) and over and not {*over} & {*index_names(c)}
        ):
            inner, asked = _asked_once(b if a == ZERO else a, over)
            return inner, (Op("not", (c,)) if a == ZERO else c, *asked)
        case _:
            return amount, ()


def _plain_keys(dims: tuple[str, ...]) -> tuple[Expr, ...]:
    return tuple(IndexVar(d) for d in dims)


def _plain(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    """What is the only contribution to its target, and sums nothing, as a pointwise statement."""
    table: dict[str, list[Statement]] = {}
    for statement in statements:
        table.setdefault(statement.target, []).append(statement)
    return tuple(
        replace(s, reduce=None)
        if isinstance(s, Einsum)
        and not s.over
        and not s.is_keyed
        and s.reduce is Reduction.SUM
        and len(table[s.target]) == 1
        else s
        for s in statements
    )


def _unsupported(message: str, span: Span | None) -> NotLoweredError:
    return NotLoweredError(
        Diagnostic(message, span, "pass it without requires_grad, or take gradients through .reference(...)")
    )
