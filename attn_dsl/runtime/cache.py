"""The disk cache: one directory, one entry a program, named by the hash of all that determines it.

An entry is written to a temporary directory and moved into place, under a lock, so that processes and threads
that start together end with one good entry. What is read is checked against the hashes stored with it: a
truncated or altered entry is built anew. A directory of another user's, or one that others may write to, is
refused: what lies in it is run. Where nothing can be written, programs are kept in memory alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attn_dsl.codegen.program import Program
from attn_dsl.errors import CacheError, Diagnostic

_PROGRAM, _SOURCE, _MANIFEST = "program.json", "kernels.py", "manifest.json"


@dataclass(slots=True)
class Statistics:
    """How often each way to a program was taken, in this process."""

    generated: int = 0
    disk_hits: int = 0
    memory_hits: int = 0


statistics = Statistics()


@dataclass(frozen=True, slots=True)
class Entry:
    """A program and the file that holds its source."""

    program: Program
    source: Path


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


def load_or_build(key: str, build: Callable[[], Program]) -> Entry:
    """The entry of a key: read, or built and stored."""
    root = directory()
    try:
        _prepare(root)
    except OSError as error:
        return _in_memory(build(), f"cannot create {root}: {error.strerror}")
    found = _read(root / key)
    if found is not None:
        statistics.disk_hits += 1
        return found
    return _build(root, key, build)


def _build(root: Path, key: str, build: Callable[[], Program]) -> Entry:
    from filelock import FileLock, Timeout

    try:
        with FileLock(str(root / f"{key}.lock"), timeout=120):
            found = _read(root / key)
            if found is not None:
                statistics.disk_hits += 1
                return found
            program = build()
            statistics.generated += 1
            try:
                return _write(root, key, program)
            except OSError as error:
                return _in_memory(program, f"cannot write to {root}: {error.strerror}")
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
        texts = {name: (entry / name).read_bytes() for name in (_PROGRAM, _SOURCE)}
        if any(manifest.get(name) != _digest(data) for name, data in texts.items()):
            return None
        return Entry(Program.from_json(texts[_PROGRAM].decode()), entry / _SOURCE)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(root: Path, key: str, program: Program) -> Entry:
    entry = root / key
    scratch = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=root))
    try:
        manifest = {}
        for name, text in ((_PROGRAM, program.to_json()), (_SOURCE, program.source)):
            (scratch / name).write_bytes(text.encode())
            manifest[name] = _digest(text.encode())
        (scratch / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        if entry.exists():
            shutil.rmtree(entry, ignore_errors=True)
        scratch.replace(entry)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Entry(program, entry / _SOURCE)


_warned = False


def _in_memory(program: Program, reason: str) -> Entry:
    global _warned
    if not _warned:
        warnings.warn(f"attn_dsl keeps programs in memory only: {reason}", stacklevel=2)
        _warned = True
    scratch = Path(tempfile.mkdtemp(prefix="attn_dsl_"))
    (scratch / _SOURCE).write_text(program.source, encoding="utf-8")
    return Entry(program, scratch / _SOURCE)


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
