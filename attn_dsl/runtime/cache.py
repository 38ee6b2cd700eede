"""The disk cache: one directory, one entry a program, named by the hash of all that determines it.

An entry is written to a temporary directory and moved into place, under a lock, so that processes and threads
that start together end with one good entry. What is read is checked against the hashes stored with it: a
truncated or altered entry is built anew. A directory of another user's, or one that others may write to, is
refused: what lies in it is run. Where nothing can be written, programs are kept in memory alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from attn_dsl.codegen.program import Program
from attn_dsl.errors import CacheError, Diagnostic

_LOG = logging.getLogger("attn_dsl")
_PROGRAM, _SOURCE, _MANIFEST = "program.json", "kernels.py", "manifest.json"
_NATIVE_SOURCE, _BINARY = "kernels.cpp", "kernels.so"


@dataclass(slots=True)
class Statistics:
    """How often each way to a program was taken, in this process."""

    generated: int = 0
    disk_hits: int = 0
    memory_hits: int = 0


statistics = Statistics()


@dataclass(frozen=True, slots=True)
class Entry:
    """A program, the file that holds its source and, where it is native code, the one that holds its
    binary."""

    program: Program
    source: Path
    binary: Path | None = None


def directory() -> Path:
    """The cache directory: ``ATTN_DSL_CACHE``, or the user's cache directory."""
    given = os.environ.get("ATTN_DSL_CACHE")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("attn_dsl"))


def entry_key(*parts: str) -> str:
    """The name of an entry: a hash of everything that determines its content."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


Compiler = Callable[[str], bytes]


def load_or_build(
    key: str, build: Callable[[], Program], compiler: Compiler | None = None, what: str = "a program"
) -> Entry:
    """The entry of a key: read, or built and stored. ``compiler``: from source to a shared object's bytes,
    for programs of native code; ``what``: it is, for the log."""
    started, generated = time.perf_counter(), statistics.generated
    entry = _load_or_build(key, build, compiler)
    built = statistics.generated > generated
    level, done = (logging.INFO, "built: none in") if built else (logging.DEBUG, "read from")
    _LOG.log(level, "%s %s %s, key %s, %.2f s", what, done, directory(), key, time.perf_counter() - started)
    return entry


def _load_or_build(key: str, build: Callable[[], Program], compiler: Compiler | None) -> Entry:
    root = directory()
    try:
        _prepare(root)
    except OSError as error:
        return _in_memory(_contents(build(), compiler), f"cannot create {root}: {error.strerror}")
    found = _read(root / key)
    if found is not None:
        statistics.disk_hits += 1
        return found
    return _build(root, key, lambda: _contents(build(), compiler))


@dataclass(frozen=True, slots=True)
class _Contents:
    """What an entry holds."""

    program: Program
    files: Mapping[str, bytes]

    def entry(self, folder: Path) -> Entry:
        binary = folder / _BINARY if _BINARY in self.files else None
        return Entry(self.program, folder / (_SOURCE if binary is None else _NATIVE_SOURCE), binary)


def _contents(program: Program, compiler: Compiler | None) -> _Contents:
    files = {_PROGRAM: program.to_json().encode()}
    if compiler is None:
        return _Contents(program, {**files, _SOURCE: program.source.encode()})
    binary = compiler(program.source)
    return _Contents(program, {**files, _NATIVE_SOURCE: program.source.encode(), _BINARY: binary})


def _build(root: Path, key: str, build: Callable[[], _Contents]) -> Entry:
    from filelock import FileLock, Timeout

    try:
        with FileLock(str(root / f"{key}.lock"), timeout=120):
            found = _read(root / key)
            if found is not None:
                statistics.disk_hits += 1
                return found
            contents = build()
            statistics.generated += 1
            try:
                return _write(root, key, contents)
            except OSError as error:
                return _in_memory(contents, f"cannot write to {root}: {error.strerror}")
    except (OSError, Timeout) as error:
        statistics.generated += 1
        return _in_memory(build(), f"cannot lock {root}: {error}")


def _prepare(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_owner(root)


def _check_owner(path: Path) -> None:
    """What the cache holds is executed: it must be ours, and nobody else's to write."""
    if not hasattr(os, "getuid"):
        return
    status = path.stat()
    if status.st_uid != os.getuid():
        raise CacheError(
            Diagnostic(
                f"the cache {path} belongs to another user",
                help="set ATTN_DSL_CACHE to a directory of your own",
            )
        )
    if status.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
        raise CacheError(Diagnostic(f"others may write to the cache {path}", help=f"chmod 700 {path}"))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(entry: Path) -> Entry | None:
    try:
        if not entry.is_dir():
            return None
        _check_owner(entry)
        manifest = json.loads((entry / _MANIFEST).read_text(encoding="utf-8"))
        files = {name: (entry / name).read_bytes() for name in manifest}
        if any(manifest[name] != _digest(data) for name, data in files.items()):
            return None
        return _Contents(Program.from_json(files[_PROGRAM].decode()), files).entry(entry)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(root: Path, key: str, contents: _Contents) -> Entry:
    entry = root / key
    scratch = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=root))
    try:
        for name, data in contents.files.items():
            (scratch / name).write_bytes(data)
        manifest = {name: _digest(data) for name, data in contents.files.items()}
        (scratch / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        if entry.exists():
            shutil.rmtree(entry, ignore_errors=True)
        scratch.replace(entry)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return contents.entry(entry)


_warned = False


def _in_memory(contents: _Contents, reason: str) -> Entry:
    global _warned
    if not _warned:
        warnings.warn(f"attn_dsl keeps programs in memory only: {reason}", stacklevel=2)
        _warned = True
    scratch = Path(tempfile.mkdtemp(prefix="attn_dsl_"))
    for name, data in contents.files.items():
        (scratch / name).write_bytes(data)
    return contents.entry(scratch)


def entries(root: Path | None = None) -> list[tuple[str, int]]:
    """The name and size in bytes of every entry."""
    base = root or directory()
    if not base.is_dir():
        return []
    found = sorted(p for p in base.iterdir() if p.is_dir() and not p.name.startswith("."))
    return [(p.name, sum(f.stat().st_size for f in p.rglob("*") if f.is_file())) for p in found]


def clear(root: Path | None = None) -> int:
    """Remove every entry; how many there were."""
    base = root or directory()
    names = [name for name, _ in entries(base)]
    for name in names:
        shutil.rmtree(base / name, ignore_errors=True)
        (base / f"{name}.lock").unlink(missing_ok=True)
    return len(names)
