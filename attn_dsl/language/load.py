"""Files and texts to cascades: reading, imports, the prelude."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from attn_dsl.errors import Diagnostic, LanguageError
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.expr import Span
from attn_dsl.language import syntax as s
from attn_dsl.language.advice import advice
from attn_dsl.language.bounds import too_many
from attn_dsl.language.parse import parse, plain_text
from attn_dsl.language.resolve import Resolver

MAX_BYTES = 1_000_000
MAX_IMPORTS = 200
MAX_IMPORT_DEPTH = 30
_LIBRARIES = ("prelude.attn",)


@dataclass(frozen=True, slots=True)
class Specification:
    """A resolved file: its cascade, the texts its spans refer to, and what is legal but suspicious."""

    cascade: Cascade
    sources: dict[str, str]
    warnings: tuple[Diagnostic, ...] = ()


@lru_cache(maxsize=1)
def _prelude() -> tuple[tuple[s.Line, ...], dict[str, str]]:
    lines: list[s.Line] = []
    sources: dict[str, str] = {}
    for name in _LIBRARIES:
        text = (files("attn_dsl") / "grammar" / name).read_text(encoding="utf-8")
        parsed, problems = parse(text, f"<library>/{name}")
        if problems:
            raise LanguageError(problems, {f"<library>/{name}": text})
        lines += parsed
        sources[f"<library>/{name}"] = text
    return tuple(lines), sources


def load_file(path: str | Path) -> Specification:
    """Read and resolve an ``.attn`` file. LanguageError lists everything that is wrong with it."""
    return load_text(read_source(Path(path)), str(path))


def read_source(path: Path) -> str:
    """The text of a file, or a LanguageError that says why it cannot be read. Of a device or a huge file no
    more is read than a text may have."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise LanguageError(
            Diagnostic(f"{path}: {_reason(path, error)}", help="give the path of an .attn file")
        ) from None
    if len(data) > MAX_BYTES:
        raise LanguageError(Diagnostic(f"{path} has more than {MAX_BYTES} bytes, and no more are read",
                                       help="part it: 'import' brings in definitions"))  # fmt: skip
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise LanguageError(
            Diagnostic(f"{path} is not UTF-8 text (line {line})", help="save it as UTF-8")
        ) from None


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, IsADirectoryError):
        return "is a directory"
    text = error.strerror if isinstance(error, OSError) else str(error)
    return (text or "cannot be read").lower()


def load_text(text: str, file: str = "<text>") -> Specification:
    """Resolve a text; ``file`` names it in messages and is where imports are relative to."""
    lines, problems = parse(text, file)
    prelude, sources = _prelude()
    sources = {**sources, file: plain_text(text)}
    crowded = too_many(lines)
    if crowded is not None:
        raise LanguageError(crowded, sources)
    resolver = Resolver()
    resolver.problems += problems
    resolver.library(list(prelude))
    _Imports(resolver, sources).bring(lines, file, (_place(Path(file)),))
    cascade = resolver.file(lines, Span(file, 1, 1, 1, 1))
    if resolver.problems:
        raise LanguageError(_ordered(resolver.problems), sources)
    return Specification(cascade, sources, (*resolver.warnings, *advice(cascade)))


def _ordered(problems: list[Diagnostic]) -> list[Diagnostic]:
    """In reading order."""
    return sorted(problems, key=lambda p: (p.span.line, p.span.column) if p.span else (1 << 30, 0))


def _place(path: Path) -> str:
    """One name for a file, however it is written."""
    try:
        return str(path.resolve())
    except (OSError, RuntimeError, ValueError):  # too long, or a loop of links: reading it will say so
        return str(path)


class _Imports:
    """Brings the definitions of imported files into scope, those of each file once."""

    def __init__(self, resolver: Resolver, sources: dict[str, str]) -> None:
        self._resolver = resolver
        self._sources = sources
        self._done: set[str] = set()

    def bring(self, lines: list[s.Line], file: str, chain: tuple[str, ...]) -> None:
        """What the lines of a file import; ``chain``: the files that led here, itself last."""
        for line in lines:
            if not isinstance(line, s.Import):
                continue
            path = Path(file).parent / line.path
            place = _place(path)
            if place in self._done and place not in chain:
                continue
            problem = self._obstacle(line, place, chain) or self._read(line, path, (*chain, place))
            if problem is not None:
                self._resolver.problems.append(problem)

    def _obstacle(self, line: s.Import, place: str, chain: tuple[str, ...]) -> Diagnostic | None:
        if place in chain:
            return Diagnostic(f"'{line.path}' imports itself", line.span, "break the cycle")
        if len(chain) > MAX_IMPORT_DEPTH:
            return Diagnostic(f"files import one another more than {MAX_IMPORT_DEPTH} deep", line.span,
                              "import what is needed where it is needed")  # fmt: skip
        if len(self._done) >= MAX_IMPORTS:
            return Diagnostic(
                f"more than {MAX_IMPORTS} files are imported", line.span, "put some into one file"
            )
        return None

    def _read(self, line: s.Import, path: Path, chain: tuple[str, ...]) -> Diagnostic | None:
        self._done.add(chain[-1])
        try:
            text = _read_plain(path)
        except LanguageError as error:
            return Diagnostic(error.diagnostics[0].message, line.span, "the path is relative to this file")
        self._sources[str(path)] = text
        inner, problems = parse(text, str(path))
        self._resolver.problems += problems
        if any(isinstance(part, s.Attention) for part in inner):
            return Diagnostic(f"'{line.path}' is an attention, not a library", line.span,
                              "move its definitions to a file of their own")  # fmt: skip
        self.bring(inner, str(path), chain)
        self._resolver.library(inner)
        return None


def _read_plain(path: Path) -> str:
    """The text of a plain file: what a text names must not make us wait for a terminal or a pipe."""
    try:
        plain = path.is_file() or not path.exists() or path.is_dir()
    except (OSError, ValueError):
        plain = True  # reading it will say why not
    if not plain:
        raise LanguageError(Diagnostic(f"{path}: is no plain file"))
    return read_source(path)
