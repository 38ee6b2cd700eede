"""A mechanism as a torch module that holds some of its inputs.

    attend = attn_dsl.nn.Attention("sink_logits.attn", learn={"sink": torch.zeros(8)}, window=512)
    out = attend(q, k, v)

An input given to ``learn`` becomes a parameter of its name, one given to ``hold`` a buffer; the others are
the arguments of ``forward``, in the order of the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from attn_dsl.codegen.schedule import Schedule
from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.ir.cascade import Input
from attn_dsl.runtime.attention import Attention as Compiled
from attn_dsl.runtime.attention import compile
from attn_dsl.runtime.sizes import DTYPES, check_argument, describe, signature_of


class Attention(nn.Module):
    """A compiled attention and the inputs it holds.

    ``source``: a path, a text, or what ``attn_dsl.compile`` gave; ``params`` set the file's params, as there.
    ``learn``: initial values of inputs to be trained, each a floating tensor of the shape the file declares;
    a ``torch.nn.Parameter`` is used as it is, so that modules can share it. ``hold``: constant inputs, which
    are in the state dict and move with the module. Held floating tensors are converted to the dtype the file
    declares, if it declares one, at each call. Raises ArgumentError for what the file does not take,
    LanguageError for a bad file.
    """

    def __init__(
        self, source: str | Path | Compiled, *, learn: Mapping[str, Tensor] | None = None,
        hold: Mapping[str, Tensor] | None = None, target: str | None = None, schedule: Schedule | None = None,
        **params: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.attention = _compiled(source, target, schedule, params)
        learn, hold = dict(learn or {}), dict(hold or {})
        for name, value in (*learn.items(), *hold.items()):
            self._require_free(name, twice=name in learn and name in hold)
            self._check(name, value, learned=name in learn)
        self._learned, self._constant = tuple(learn), tuple(hold)
        for name, value in learn.items():
            self.register_parameter(name, value if isinstance(value, nn.Parameter) else nn.Parameter(value))
        for name, value in hold.items():
            self.register_buffer(name, value)

    def forward(self, /, *args: Any, **kwargs: Any) -> Any:
        """The outputs of the file, in its order. Arguments by position are the inputs that are not held."""
        held = self._held()
        names = [i.name for i in self.attention.cascade.inputs]
        free = [n for n in names if n not in held]
        given = dict(zip(free, args, strict=False))
        if len(args) > len(free):
            raise self._error(f"the module takes {len(free)} arguments, {len(args)} given", self._takes())
        for name in kwargs:
            if name in held or name in given:
                what = "held by the module" if name in held else "given twice"
                raise self._error(f"'{name}' is {what}", self._takes())
        given |= kwargs | {n: self._as_declared(self._input(n), t) for n, t in held.items()}
        if given.keys() != set(names):
            return self.attention(**given)  # which says what is missing or unknown
        return self.attention(*(given[n] for n in names))

    def extra_repr(self) -> str:
        """The call and its params, then what is held."""
        cascade = self.attention.cascade
        params = "".join(f", {n}={v}" for n, v in self.attention.params.items())
        lines = [signature_of(cascade) + params]
        held = self._held()
        for what, names in (("learned", self._learned), ("held", self._constant)):
            shapes = ", ".join(f"{n} {tuple(held[n].shape)}" for n in names)
            lines += [f"{what}: {shapes}"] if shapes else []
        return "\n".join(lines)

    def _held(self) -> dict[str, Tensor]:
        """The inputs that the module holds, as its attributes have them: others may compute these
        (parametrizations, pruning, sharding), and what else a module holds is not the file's."""
        return {n: getattr(self, n) for n in (*self._learned, *self._constant)}

    # what the file declares

    def _input(self, name: str) -> Input:
        declared = self.attention.cascade.input(name)
        if declared is None:
            names = [i.name for i in self.attention.cascade.inputs]
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean '{close[0]}'?" if close else signature_of(self.attention.cascade)
            raise self._error(f"{self.attention.name} has no input '{name}'", hint)
        return declared

    def _require_free(self, name: str, twice: bool) -> None:
        declared = self._input(name)
        if twice:
            raise self._error(f"'{name}' is both learned and held", "give it to one of them", declared)
        if hasattr(self, name):
            what = f"a torch module has an attribute '{name}' of its own"
            raise self._error(what, "give the input another name in the file", declared)

    def _check(self, name: str, value: object, learned: bool) -> None:
        declared = self._input(name)
        if not isinstance(value, Tensor):
            example = f"give its first value: torch.zeros(...), as {describe(declared)}"
            raise self._error(f"'{name}' is a {type(value).__name__}, not a tensor", example, declared)
        if learned and not value.is_floating_point():
            what = f"'{name}' is of dtype {value.dtype}, which has no gradient"
            raise self._error(what, f"hold it: hold={{'{name}': ...}}", declared)
        try:
            check_argument(declared, self._as_declared(declared, value))
        except ArgumentError as error:
            raise ArgumentError(error.diagnostics, self.attention.specification.sources) from None

    def _error(self, what: str, help: str, declared: Input | None = None) -> ArgumentError:
        span = None if declared is None else declared.span
        return ArgumentError(Diagnostic(what, span, help), self.attention.specification.sources)

    def _takes(self) -> str:
        held = (*self._learned, *self._constant)
        free = ", ".join(describe(i) for i in self.attention.cascade.inputs if i.name not in held)
        return f"{self.attention.name}({free})" + (f", and holds {', '.join(held)}" if held else "")

    @staticmethod
    def _as_declared(declared: Input, value: Tensor) -> Tensor:
        wanted = None if declared.dtype is None else DTYPES[declared.dtype]
        if wanted is not None and wanted.is_floating_point and value.is_floating_point():
            return value.to(wanted)
        return value


def _compiled(
    source: str | Path | Compiled, target: str | None, schedule: Schedule | None, params: Mapping[str, Any]
) -> Compiled:
    if not isinstance(source, Compiled):
        return compile(source, target=target, schedule=schedule, params=params)
    if target is not None or schedule is not None or params:
        what = "an attention that is compiled has its params, target and schedule"
        raise ArgumentError(Diagnostic(what, help="give them to attn_dsl.compile, or give the file here"))
    return source


__all__ = ["Attention"]
