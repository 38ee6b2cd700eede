"""Reverse mode: from a cascade to the cascade of its gradients.

For every statement, from the last to the first, the adjoint of its target is handed to what its body reads:

    Z[zd] += f(T[slots], ...)      gives      d_T[slots] += d_Z[zd] * ∂f/∂T      summed over the indices T lacks

All of it is sums, whatever they run over: that a slope of a head collects from all pairs at once is a matter
of how kernels are cut (`planning/parting.py`). What an input receives at places that are only known as
tensors are read (``T[table[i], d]``) is collected by the indices these are computed from, with the places
beside it.

(Griewank and Walther, "Evaluating Derivatives", 2008, chapter 3, for programs; that the adjoint of an Einsum
is an Einsum is used by every tensor compiler.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from attn_dsl.analysis.logic import PRESENT, TRUE
from attn_dsl.analysis.presence import presence
from attn_dsl.differentiation.active import active_tensors, differentiable_inputs
from attn_dsl.differentiation.derivatives import by_zeros, factors
from attn_dsl.differentiation.local import Adjoint, Share
from attn_dsl.differentiation.memory import combined
from attn_dsl.differentiation.places import Place, place_of, sent_place
from attn_dsl.differentiation.saved import nothing_given, presences_read
from attn_dsl.errors import Diagnostic, NotLoweredError
from attn_dsl.ir.cascade import Axis, Cascade, Einsum, Index, Input, Output, Ranking, Reduction, Statement
from attn_dsl.ir.dtypes import Kind
from attn_dsl.ir.expr import Const, Default, Expr, IndexVar, Op, Read, Select, Span
from attn_dsl.ir.kinds import Kinds
from attn_dsl.ir.slopes import ZERO, div, mul, sub
from attn_dsl.ir.validate import validated
from attn_dsl.ir.walk import index_names, tensors_read
from attn_dsl.planning.binding import means_as_sums
from attn_dsl.planning.dependence import Dependence
from attn_dsl.planning.extents import Extents
from attn_dsl.planning.parting import with_parts
from attn_dsl.planning.roles import assign_roles, is_of_pairs
from attn_dsl.rewrites import normal_form
from attn_dsl.rewrites.algebra import conjunction
from attn_dsl.rewrites.definitions import fresh_name, statement_reads, whole_read


@dataclass(frozen=True, slots=True)
class Backward:
    """The backward pass.

    ``forward``: the cascade it differentiates, in normal form; beside its own outputs it gives the tensors
    ``kept``, which the backward pass reads. ``cascade``: what kernels compute, from the inputs, the adjoints
    of the outputs (``seeds``: output -> input) and what was kept. ``finish``: from its results to those of
    ``gradients`` (input -> result) that are sent to computed places: sums of tensors at places that other
    tensors hold, and nothing else. ``presences``: results of ``forward`` of which ``cascade`` asks whether
    they exist, and the indices that this varies with.
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
    """A result of the backward cascade over these dims, and the places of an input it belongs at: an index,
    or what a result that holds places has."""

    tensor: str
    dims: tuple[str, ...]
    keys: tuple[Expr, ...]


def backward(
    cascade: Cascade,
    wanted: Iterable[str] | None = None,
    real: str = "f32",
    outputs: Iterable[str] | None = None,
) -> Backward:
    """The backward pass for the inputs ``wanted`` (default: all floating ones), from the adjoints of
    ``outputs`` (all). ``real``: the dtype of accumulators, in which what was kept and what is still to be
    summed are stored. NotLoweredError names the statement that has no derivative here."""
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
        extents = Extents(whole)
        roles = assign_roles(self._flow, extents)
        self._whole = roles.whole
        self._pairs = combined(self._flow, roles)
        self._rows = frozenset(row for row, _ in self._pairs)
        self._keys = frozenset(key for _, key in self._pairs)
        # The reductions that kernels give, as they are cut.
        self._streamed = frozenset(assign_roles(Dependence(with_parts(whole, extents)), extents).streamed)
        self._kinds = Kinds(forward)
        self._active = active_tensors(forward, wanted)
        self._adjoint = Adjoint(self._active.__contains__, lambda r: presence(r, forward) == TRUE)
        self._statements: list[Statement] = []
        self._inputs: list[Input] = []
        self._indices: list[Index] = []
        self._names: set[str] = set()
        self._helpers: dict[str, str] = {}
        self._adjoints: dict[str, str] = {}
        # What inputs receive at computed places, and where these are held.
        self._scattered: list[tuple[str, _Sent]] = []
        self._places: dict[str, tuple[str, ...]] = {}

    def run(self) -> Backward:
        """Statement by statement, the last first."""
        seeds = self._seeds()
        for statement in reversed(self._forward.statements):
            if statement.target in self._adjoints:
                self._differentiate(statement, self._adjoints[statement.target])
        kept = self._kept()
        sent = {i.name: found for i in self._forward.inputs if (found := self._sent(i))}
        direct = {n: parts[0].tensor for n, parts in sent.items() if self._is_whole(n, parts)}
        finish, finished = self._finish({n: parts for n, parts in sent.items() if n not in direct})
        results = [self._direct_result(n, t) for n, t in direct.items()]
        results += [
            self._result(p.tensor, p.dims) for n, parts in sent.items() if n not in direct for p in parts
        ]
        results += [self._result(name, dims, "i64") for name, dims in self._places.items()]
        cascade = self._cascade(results + self._kept_results(kept), kept)
        presences = presences_read(cascade, self._streamed)
        cascade = replace(cascade, saved=(*kept, *(PRESENT + t for t, _ in presences)))
        training = self._training(kept)
        for derived in (training, cascade, finish):
            validated(derived)
        return Backward(training, cascade, finish, direct | finished, seeds, kept, presences)

    def _sent(self, declared: Input) -> list[_Sent]:
        """What an input receives."""
        if declared.name not in self._wanted:
            return []
        own = [self._adjoints[declared.name]] if declared.name in self._adjoints else []
        found = [_Sent(adjoint, declared.dims, _plain_keys(declared.dims)) for adjoint in own]
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
        """What the forward pass stores for the backward pass: of what that reads, the reductions over a
        stream that are no pairs, the rankings and the outputs. All else is computed anew from these."""
        extents = Extents(self._forward)
        known = self._flow.by_target.keys() & self._streamed
        linear = {t for t in known if not is_of_pairs(self._flow, extents, t)}
        ranked = {s.target for s in self._forward.statements if isinstance(s, Ranking)}
        storable = {*linear, *ranked, *(o.name for o in self._forward.outputs)}
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
        """From what inputs are sent at computed places to their gradients, in the inputs' own layouts."""
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
                body = whole_read(part.tensor, part.dims)
                statements.append(Einsum(names[name], declared.dims, part.keys, Reduction.SUM, (), body))
            outputs.append(Output(names[name], declared.axes))
        parts = {p.tensor: p.dims for found in sent.values() for p in found} | self._places
        inputs = [
            Input(tensor, tuple(Axis((d,)) for d in dims), "i64" if tensor in self._places else None)
            for tensor, dims in parts.items()
        ]
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

    def _differentiate(self, statement: Statement, adjoint: str) -> None:
        if isinstance(statement, Ranking):
            return
        if statement.is_keyed and statement.reduce is not Reduction.SUM:
            raise _unsupported("a keyed reduction other than '+=' has no gradient yet", statement.span)
        seed, value = self._seed(statement, Read(adjoint, statement.keys))
        own = dict.fromkeys(n for key in statement.keys for n in index_names(key))
        space = (*own, *(i for i in statement.over if i not in own))
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
        """Where a read receives its adjoint. An entry of a table that pairs share (a bias at a distance) is
        sent what each pair has for it: to solve its place for the pairs would compute these anew, off the
        diagonal."""
        dims = self._dims_of(read.tensor)
        place = place_of(read, dims, space, self._forward, self._keys)
        sides = {n for slot in read.indices for n in index_names(slot)}
        pairs = bool(sides & self._rows) and bool(sides & self._keys)
        is_table = self._forward.input(read.tensor) is not None and not self._whole & {*dims}
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
        over = tuple(i for i in space if i not in place.dims)
        if any({*pair} <= {*place.dims} for pair in self._pairs):
            # Computed from pairs, of which none are stored: a keyed sum.
            dims, keys = declared.dims, read.indices
            statement = Einsum(name, dims, keys, Reduction.SUM, over, share.amount, where, statement.span)
            self._statements.append(statement)
            self._scattered.append((read.tensor, _Sent(name, dims, _plain_keys(dims))))
            return
        self._contribute(name, place.dims, over, share.amount, where, statement.span)
        keys = tuple(self._held(read.tensor, slot) for slot in read.indices)
        self._scattered.append((read.tensor, _Sent(name, place.dims, keys)))

    def _held(self, tensor: str, slot: Expr) -> Expr:
        """A place as what a result holds; -1, where nothing is sent, where it does not exist."""
        if isinstance(slot, IndexVar):
            return slot
        name = self._fresh(f"{tensor}_place")
        dims = tuple(dict.fromkeys(index_names(slot)))
        body = Default(slot, Const(-1))
        self._statements.append(Einsum(name, dims, _plain_keys(dims), None, (), body))
        self._places[name] = dims
        return whole_read(name, dims)

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
        over = tuple(i for i in space if i not in place.dims)
        dims = self._dims_of(tensor)
        for index, _ in place.indices:
            if index not in self._indices:
                self._indices.append(index)
        if place.dims == dims:
            self._contribute(self._adjoint_name(tensor), dims, over, amount, where, span)
            return
        # At other indices than the tensor's own: collected there, then read from the tensor's own.
        moved = self._fresh(f"d_{tensor}_at_{'_'.join(place.dims) or 'once'}")
        self._contribute(moved, place.dims, over, amount, where, span)
        self._contribute(self._adjoint_name(tensor), dims, (), whole_read(moved, dims), None, span)

    def _contribute(
        self, name: str, dims: tuple[str, ...], over: tuple[str, ...], amount: Expr, where: Expr | None, span: Span | None
    ) -> None:  # fmt: skip
        amount, asked = _asked_once(amount, over)
        guard = conjunction((where, *asked))
        self._statements.append(
            Einsum(name, dims, _plain_keys(dims), Reduction.SUM, over, amount, guard, span)
        )

    def _adjoint_name(self, tensor: str) -> str:
        if tensor not in self._adjoints:
            self._adjoints[tensor] = self._fresh(f"d_{tensor}")
        return self._adjoints[tensor]


def _asked_once(amount: Expr, over: tuple[str, ...]) -> tuple[Expr, tuple[Expr, ...]]:
    """What is summed where conditions hold that are the same for the whole sum, and these conditions: where
    they do not, nothing arrives, which to an adjoint is 0."""
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
