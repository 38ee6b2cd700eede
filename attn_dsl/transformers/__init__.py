"""A mechanism as the attention of a model of Hugging Face's transformers.

    attn_dsl.transformers.register("windowed", "windowed.attn", window=256)
    model.set_attn_implementation("windowed")

The first three inputs of the file are query, key and value; keys may have fewer heads, which is `(g r)` in
the file. What else a model's attention is called with goes to the inputs and params of that name:
``scaling``, ``dropout``, ``sliding_window``, ``softcap``, ``s_aux``, ``position_bias``. A file may also take
``mask``, ``keep`` or ``lengths`` (`masks`), ``seed``, a number drawn at each call, and any tensor that the
model's attention modules hold. What the model gives and the file does not take is an error, unless it changes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attn_dsl.codegen.schedule import Schedule, require_usable
from attn_dsl.compiler import load
from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.runtime.attention import Attention

try:
    from transformers import AttentionInterface, AttentionMaskInterface
except ModuleNotFoundError as error:
    if error.name != "transformers":
        raise
    what = "attn_dsl.transformers needs transformers: pip install -e '.[transformers]', in a clone"
    raise ModuleNotFoundError(what, name="transformers") from None

from attn_dsl.transformers.calls import attention_interface
from attn_dsl.transformers.masks import mask_interface
from attn_dsl.transformers.mechanism import Mechanism
from attn_dsl.transformers.traced import know

_REGISTERED: set[str] = set()


def register(
    name: str, source: str | Path | Attention, /, *, takes: Mapping[str, str] | None = None,
    target: str | None = None, schedule: Schedule | None = None, **values: Any,
) -> None:  # fmt: skip
    """Make a mechanism known to transformers as ``attn_implementation=name``; again, and the name means the
    new one.

    ``source``: a path, a text, or what ``attn_dsl.compile`` gave (with its params). ``values``: params of the
    file, and tensors for inputs that are the same in every call. ``takes``: for an input or param of the
    file, what the model calls it: ``{"sink": "s_aux"}``. ArgumentError where the file has not the layout of a
    model's attention, or has no such input or param; LanguageError for a bad file. Later, when the model is
    called, ArgumentError says what it gives that the file does not take, and which key the file would see
    that the model's mask hides.
    """
    _require_free(name)
    if isinstance(source, Attention):
        specification, values = source.specification, {**source.params, **values}
        target, schedule = target or source.target, schedule or source.schedule
    else:
        specification = load(source)
    inputs = {i.name for i in specification.cascade.inputs[3:]}
    params = {n: v for n, v in values.items() if n not in inputs}
    constants = {n: v for n, v in values.items() if n in inputs}
    if schedule is not None:
        require_usable(schedule)
    mechanism = Mechanism(specification, params, constants, dict(takes or {}), target, schedule or Schedule())
    mechanism.require_fit()
    know(mechanism)
    AttentionInterface.register(name, attention_interface(mechanism))
    AttentionMaskInterface.register(name, mask_interface(mechanism))
    _REGISTERED.add(name)


def _require_free(name: str) -> None:
    if not name.isidentifier() or "flash" in name:
        help = "give a name of letters, digits and underscores, without 'flash', which means others to transformers"
        raise ArgumentError(Diagnostic(f"'{name}' cannot name an attention", help=help))
    if name not in _REGISTERED and (name == "eager" or name in AttentionInterface().valid_keys()):
        what = f"transformers has an attention '{name}' already"
        raise ArgumentError(Diagnostic(what, help="give another name"))


__all__ = ["register"]
