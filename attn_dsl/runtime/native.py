"""Native kernels: C++ source to a shared object by the system's compiler, and its functions.

``CXX`` names the compiler, else the first of ``g++``, ``clang++`` and ``c++`` on the path;
``ATTN_DSL_CXXFLAGS`` holds further flags (``-fsanitize=address``). Objects are built for the processor at hand, so
the compiler, the flags and the processor are part of what an entry of the cache is named by.
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

COMPILERS = ("g++", "clang++", "c++")
# NaN and infinities count; errno and floating-point traps do not, and forbid vectors where they do.
FLAGS = (
    "-O3", "-march=native", "-std=c++17", "-fopenmp", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math",
    "-fno-semantic-interposition", "-w",
)  # fmt: skip


def find_compiler() -> str | None:
    """The path of the C++ compiler, or None where there is none."""
    named = os.environ.get("CXX")
    candidates = (shlex.split(named)[0],) if named else COMPILERS
    return next((path for name in candidates if (path := shutil.which(name))), None)


def toolchain() -> tuple[str, ...]:
    """What determines the binary besides its source. TargetError where there is no compiler."""
    compiler = _compiler()
    status = Path(compiler).resolve().stat()
    return (compiler, str(status.st_size), str(status.st_mtime_ns), *_flags(), processor())


def compile_native(source: str) -> bytes:
    """The shared object of a module's source. TargetError shows what the compiler said."""
    with tempfile.TemporaryDirectory(prefix="attn_dsl_") as folder:
        text, binary = Path(folder) / "kernels.cpp", Path(folder) / "kernels.so"
        text.write_text(source, encoding="utf-8")
        command = [_compiler(), *_flags(), f"-I{_headers()}", str(text), "-o", str(binary)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = "\n".join(done.stderr.strip().splitlines()[:12])
            raise TargetError(
                Diagnostic(
                    f"the C++ compiler failed:\n{said}",
                    help=f"try another one by CXX=..., flags by ATTN_DSL_CXXFLAGS; command: {shlex.join(command[:-3])}",
                )
            )
        return binary.read_bytes()


def load_library(path: Path) -> ctypes.CDLL:
    """The functions of a shared object."""
    return ctypes.CDLL(str(path))


def _compiler() -> str:
    found = find_compiler()
    if found is None:
        named = os.environ.get("CXX")
        raise TargetError(
            Diagnostic(
                f"no C++ compiler was found ({f'CXX={named}' if named else ', '.join(COMPILERS)})",
                help="install one (g++ or clang++), or name it by CXX=...; small sizes can be computed "
                "by .reference(...)",
            )
        )
    return found


def _flags() -> tuple[str, ...]:
    return (*FLAGS, *shlex.split(os.environ.get("ATTN_DSL_CXXFLAGS", "")))


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
