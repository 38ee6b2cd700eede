"""Words that mean something in a C++ kernel, and are no names of a value there."""

from __future__ import annotations

import re

# Keywords; what is written in the text of a kernel; the macros that are not in capitals.
_WORDS = frozenset(["alignas", "alignof", "and", "and_eq", "asm", "atomic_cancel", "atomic_commit", "atomic_noexcept", "auto", "bitand", "bitor", "bool", "break", "case", "catch", "char", "char8_t", "char16_t", "char32_t", "class", "compl", "concept", "const", "consteval", "constexpr", "constinit", "const_cast", "continue", "co_await", "co_return", "co_yield", "decltype", "default", "delete", "do", "double", "dynamic_cast", "else", "enum", "explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if", "inline", "int", "long", "mutable", "namespace", "new", "noexcept", "not", "not_eq", "nullptr", "operator", "or", "or_eq", "private", "protected", "public", "reflexpr", "register", "reinterpret_cast", "requires", "return", "short", "signed", "sizeof", "static", "static_assert", "static_cast", "struct", "switch", "synchronized", "template", "this", "thread_local", "throw", "true", "try", "typedef", "typeid", "typename", "typeof", "union", "unsigned", "using", "virtual", "void", "volatile", "wchar_t", "while", "xor", "xor_eq", "attn", "std", "program", "part", "int8_t", "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t", "size_t", "alloca", "assert", "errno", "i386", "issubnormal", "isnan", "isinf", "linux", "major", "makedev", "math_errhandling", "minor", "offsetof", "stderr", "stdin", "stdout", "strdupa", "strndupa", "unix"])  # fmt: skip
# Macros are written in capitals, and headers may define any: such a name of three characters or more, two of
# them letters, is taken for one, but for the constants that every kernel has.
_MACRO = re.compile(
    r"(?!BLOCK_)(?=\w{3})[A-Z][A-Z0-9_]*[A-Z][A-Z0-9_]*|M_(?:\d_)?[A-Z]\w*|(?:be|le)(?:16|32|64)toh|hto(?:be|le)(?:16|32|64)"
)


def is_reserved(name: str) -> bool:
    """Whether a name is a word of C++'s, or may be a macro."""
    return name in _WORDS or _MACRO.fullmatch(name) is not None
