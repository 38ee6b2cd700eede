"""A file as a model sees it: query, key and value, and what else it takes by name."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

from torch import Tensor

from attn_dsl.codegen.schedule import Schedule
from attn_dsl.errors import ArgumentError, AttnError, Diagnostic
from attn_dsl.ir.cascade import Cascade, Input
from attn_dsl.ir.expr import Expr, SizeOf, Span
from attn_dsl.ir.walk import walk
from attn_dsl.language.load import Specification
from attn_dsl.runtime.attention import Attention
from attn_dsl.runtime.params import resolve_params
from attn_dsl.runtime.sizes import check_argument, signature_of
from attn_dsl.transformers.positions import first_counted_from_start, mentions, row_guards

LAYOUT = "query [b, (g r), i, d], key [b, g, j, d], value [b, g, j, e], output [b, (g r), i, e]"

_SOME = {"int": 1, "float": 1.0, "bool": False}


@dataclass(frozen=True, slots=True)
class Counting:
    """Whether a file uses the places of rows, and the lines, if any, where it counts rows or keys from the
    first."""

    mentions_rows: bool
    rows_from_start: Span | None
    keys_from_start: Span | None


@dataclass(frozen=True)
class Mechanism:
    """A file for the attention of a model. ``params`` and ``constants``: values given once for all calls;
    ``takes``: the name that the model has for an input or param of the file, where it differs."""

    specification: Specification
    params: Mapping[str, Any]
    constants: Mapping[str, Tensor]
    takes: Mapping[str, str]
    target: str | None
    schedule: Schedule
    within: set[tuple[int, int, bool, int | None]] = field(
        default_factory=set
    )  # calls whose mask has been checked
    _compiled: dict[tuple[tuple[str, Any], ...], Attention] = field(default_factory=dict)

    @property
    def cascade(self) -> Cascade:
        """The resolved file."""
        return self.specification.cascade

    @property
    def row(self) -> str:
        """The index of a query."""
        return self.cascade.inputs[0].axes[2].indices[0]

    @property
    def key(self) -> str:
        """The index of a key."""
        return self.cascade.inputs[1].axes[2].indices[0]

    @cached_property
    def guards(self) -> tuple[Expr, ...]:
        """Where a row meets keys."""
        return row_guards(self.cascade, self.row, self.key)

    @cached_property
    def counting(self) -> Counting:
        """How rows and keys are counted."""
        rows, keys = (first_counted_from_start(self.cascade, index) for index in (self.row, self.key))
        return Counting(mentions(self.cascade, self.row), rows, keys)

    @cached_property
    def key_of_checks(self) -> str:
        """What names it in a traced program: the same in every process, for files that see the same keys."""
        params = sorted(self.known_params(None).items())
        windows = [p.name for p in self.cascade.params if self.model_name(p.name) == "sliding_window"]
        digest = sha256(repr((self.guards, params, windows)).encode()).hexdigest()
        return f"{self.cascade.name}_{digest[:16]}"

    @cached_property
    def scales_by_size(self) -> bool:
        """Whether the number of features of a query is used, as in 1 / sqrt(size(d))."""
        features = SizeOf(self.cascade.inputs[0].axes[3].indices[0])
        return any(features in walk(s.body) for s in self.cascade.statements)

    @property
    def extras(self) -> tuple[Input, ...]:
        """The inputs beside query, key and value."""
        return self.cascade.inputs[3:]

    def extra(self, model_name: str) -> Input | None:
        """The input that takes what a model calls so."""
        return next((i for i in self.extras if self.model_name(i.name) == model_name), None)

    def model_name(self, name: str) -> str:
        """What the model calls an input or param."""
        return self.takes.get(name, name)

    def attention(self, given: Mapping[str, Any]) -> Attention:
        """The attention with further params of this call."""
        key = tuple(sorted(given.items()))
        if key not in self._compiled:
            with self.explained():
                values = resolve_params(self.cascade, {**self.params, **given})
            self._compiled[key] = Attention(self.specification, values, self.target, self.schedule)
        return self._compiled[key]

    def known_params(self, window: int | None) -> dict[str, Any]:
        """The params that have a value before a call; ``window``: what a model gives as
        ``sliding_window``."""
        defaults = {p.name: p.default for p in self.cascade.params if p.default is not None}
        windows = (p.name for p in self.cascade.params if self.model_name(p.name) == "sliding_window")
        return {**defaults, **{n: window for n in windows if window is not None}, **self.params}

    @contextmanager
    def explained(self) -> Generator[None]:
        """Errors raised inside show the lines they speak of."""
        try:
            yield
        except AttnError as error:
            error.sources = {**self.specification.sources, **error.sources}
            raise

    def error(self, what: str, help: str, span: Span | None = None) -> ArgumentError:
        """An error that shows a line of the file."""
        return ArgumentError(Diagnostic(what, span, help), self.specification.sources)

    def require_fit(self) -> None:
        """ArgumentError where the file has not the layout of a model's attention, or names and values do not
        fit."""
        q, k, v = (*self.cascade.inputs[:3], None, None, None)[:3]
        if q is None or k is None or v is None:
            what = f"{self.cascade.name} has fewer than three inputs; a model gives query, key and value"
            raise self.error(what, LAYOUT)
        output = self.cascade.outputs[0]
        fits = (
            all(len(x.axes) == 4 and len(x.axes[2].indices) == 1 for x in (q, k, v, output))
            and q.axes[0] == k.axes[0] == v.axes[0] == output.axes[0]
            and k.axes[1:3] == v.axes[1:3] and output.axes[1].indices == q.axes[1].indices
            and q.axes[2] == output.axes[2] != k.axes[2] and q.axes[3] == k.axes[3]
        )  # fmt: skip
        if not fits:
            what = f"{self.cascade.name} has not the layout of a model's attention"
            raise self.error(what, f"its first inputs and output are {LAYOUT}", q.span)
        known = {i.name for i in self.extras} | {p.name for p in self.cascade.params}
        for name in (*self.takes, *self.constants):
            if name not in known:
                others = ", ".join(sorted(known)) or "none"
                what = f"{self.cascade.name} has no input or param '{name}' beside query, key and value"
                raise self.error(what, f"there are: {others}; {signature_of(self.cascade)}")
        masks = [self.extra(name) for name in ("mask", "keep", "lengths")]
        if masks[0] is not None and (masks[1] or masks[2]) is not None:
            what = f"{self.cascade.name} takes a mask, and the padding that is in it"
            raise self.error(what, "take one of them", masks[0].span)
        given_by_calls = {p.name: _SOME[p.kind] for p in self.cascade.params if p.default is None}
        with self.explained():
            resolve_params(self.cascade, {**given_by_calls, **self.params})
            for name, value in self.constants.items():
                declared = self.cascade.input(name)
                assert declared is not None
                check_argument(declared, value)
