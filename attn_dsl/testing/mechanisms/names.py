"""Other names for a random mechanism: words of the languages that it is compiled to, and names that generated
code has.

A text means the same under any names that are its own and legal; a compiler that takes them as they are may
not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from attn_dsl.testing.choices import Choices

_PYTHON = (
    "lambda", "class", "None", "self", "is", "del", "async", "pass", "raise", "nonlocal", "range", "int", "float", "id", "print",
    "dict", "torch", "math",
)  # fmt: skip
_TRITON = (
    "tl", "triton", "constexpr", "program_id", "libdevice", "load", "store", "dot", "BLOCK", "num_warps", "pid", "grid",
)  # fmt: skip
_CPP = (
    "double", "auto", "namespace", "template", "operator", "register", "signed", "struct", "this", "typename", "xor", "compl",
    "NULL", "INT16_MIN", "PTRDIFF_MAX", "FP_NAN", "NAN", "INFINITY", "M_PI", "EOF", "errno", "wchar_t", "size_t", "int32_t",
    "std", "main", "linux", "unix", "y0", "j1", "gamma", "fmaf", "memcpy", "free", "signbit", "assert", "near", "stdin",
)  # fmt: skip
_GENERATED = (
    "size_{i}", "stride_{T}_{i}", "BLOCK_{I}", "{T}_ptr", "{T}_count", "{T}_next", "{T}_sum", "d_{T}", "param_{T}", "{i}X",
    "{i}x", "{i}_start", "{i}_end", "{i}_tile", "{T}_tile", "{T}_{i}", "{T}_at_{i}", "{T}_old", "{T}_unrounded", "{T}_{T}",
)  # fmt: skip
WORDS = (*_PYTHON, *_TRITON, *_CPP)
_NAME = re.compile(r"\b[A-Za-z]\w*")


def other_names(choices: Choices, text: str, own: Collection[str]) -> dict[str, str]:
    """A new name for each of a text's own, most often a hostile one; none twice, none that the text has
    already."""
    present = list(dict.fromkeys(_NAME.findall(text)))
    names = [name for name in present if name in own]
    used, found = set(present), dict[str, str]()
    for name in names:
        new = choices.among((name, *(_LOWER_CASE if name[0].islower() else _ANY)))  # an index is lower case
        new = _filled(new, choices, names) if "{" in new else new
        if new not in used:
            found[name] = new
            used.add(new)
    return found


def renamed(text: str, names: Mapping[str, str]) -> str:
    """The same text under other names."""
    return _NAME.sub(lambda found: names.get(found.group(), found.group()), text)


def _filled(form: str, choices: Choices, names: list[str]) -> str:
    """A name as generated code makes it of the text's own."""
    indices = [n for n in names if n[0].islower()]
    tensors = [n for n in names if n[0].isupper()] or indices
    index = choices.among(indices)
    return form.format(i=index, I=index.upper(), T=choices.among(tensors))


_ANY = (*WORDS, *_GENERATED, *_GENERATED)
_LOWER_CASE = tuple(word for word in _ANY if word[0].islower() or word.startswith("{i}"))
