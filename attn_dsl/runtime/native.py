"""Native kernels: C++ source to a shared object by the system's compiler, and its functions.

``CXX`` names the compiler, else the first of ``g++``, ``clang++`` and ``c++`` on the path;
``ATTN_DSL_CXXFLAGS`` holds further flags (``-fsanitize=address``). Objects are built for the processor at
hand, so the compiler, the flags and the processor are part of what an entry of the cache is named by.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from attn_dsl.errors import Diagnostic, TargetError

# How shared objects begin: ELF, Mach-O (one architecture, several), PE.
_MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"MZ")
COMPILERS = ("g++", "clang++", "c++")
# NaN and infinities count; errno and floating-point traps do not, and forbid vectors where they do.
FLAGS = (
    "-O3", "-march=native", "-std=c++17", "-fopenmp", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math",
    "-fno-semantic-interposition", "-w",
)  # fmt: skip


def find_compiler() -> tuple[str, ...] | None:
    """The command of the C++ compiler (``ccache g++`` has two words), or None where there is none.
    TargetError where CXX cannot be read."""
    named = _words("CXX")
    commands = [named] if named else [(name,) for name in COMPILERS]
    found = ((shutil.which(name), *rest) for name, *rest in commands)
    return next(((path, *rest) for path, *rest in found if path is not None), None)


def toolchain() -> tuple[str, ...]:
    """What determines the binary besides its source. TargetError where there is no compiler."""
    command = _compiler()
    programs = [Path(path).resolve().stat() for word in command if (path := shutil.which(word))]
    told = [text for p in programs for text in (str(p.st_size), str(p.st_mtime_ns))]
    return (*command, *told, *_flags(), processor())


def compile_native(source: str) -> bytes:
    """The shared object of a module's source. TargetError shows what the compiler said."""
    with tempfile.TemporaryDirectory(prefix="attn_dsl_") as folder:
        text, binary = Path(folder) / "kernels.cpp", Path(folder) / "kernels.so"
        text.write_text(source, encoding="utf-8")
        command = [*_compiler(), *_flags(), f"-I{_headers()}", str(text), "-o", str(binary)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = "\n".join(done.stderr.strip().splitlines()[:12])
            raise TargetError(
                Diagnostic(
                    f"the C++ compiler failed:\n{said}",
                    help=f"try another one by CXX=..., flags by ATTN_DSL_CXXFLAGS; command: {shlex.join(command[:-3])}",
                )
            )
        made = binary.read_bytes() if binary.exists() else b""
        if not made.startswith(_MAGIC):
            raise TargetError(
                Diagnostic(
                    "the C++ compiler ended well, and left no shared object",
                    help=f"try another one by CXX=...; command: {shlex.join(command[:-3])}",
                )
            )
        return made


def load_library(path: Path) -> ctypes.CDLL:
    """The functions of a shared object. TargetError where it cannot be loaded."""
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise TargetError(
            Diagnostic(
                f"a compiled kernel cannot be loaded: {error}", help="empty the cache: attn cache clear"
            )
        ) from None


def _words(variable: str) -> tuple[str, ...]:
    """The words of an environment variable, as a shell would part them."""
    given = os.environ.get(variable, "")
    try:
        return tuple(shlex.split(given))
    except ValueError as error:
        problem = str(error).lower()
        raise TargetError(
            Diagnostic(f"{variable}={given} cannot be read: {problem}", help="close the quotation")
        ) from None


def _compiler() -> tuple[str, ...]:
    found = find_compiler()
    if found is None:
        named = os.environ.get("CXX", "").strip()
        raise TargetError(
            Diagnostic(
                f"no C++ compiler was found ({f'CXX={named}' if named else ', '.join(COMPILERS)})",
                help="install one (g++ or clang++), or name it by CXX=...; small sizes can be computed "
                "by .reference(...)",
            )
        )
    return found


def _flags() -> tuple[str, ...]:
    return (*FLAGS, *_words("ATTN_DSL_CXXFLAGS"))


def _headers() -> Path:
    import attn_dsl

    return Path(attn_dsl.__file__).parent / "templates" / "cpu"


@lru_cache(maxsize=1)
def processor() -> str:
    """The instruction sets of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    told = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    return " ".join(dict.fromkeys(told))
