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
from attn_dsl.language.parse import parse, plain_text
from attn_dsl.language.resolve import Resolver

MAX_BYTES = 1_000_000
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
    """The text of a file, or a LanguageError that says why it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = "is a directory" if path.is_dir() else (error.strerror or "cannot be read").lower()
        raise LanguageError(Diagnostic(f"{path}: {reason}", help="give the path of an .attn file")) from None
    if len(data) > MAX_BYTES:
        raise LanguageError(Diagnostic(f"{path} has {len(data)} bytes; at most {MAX_BYTES} are read"))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise LanguageError(
            Diagnostic(f"{path} is not UTF-8 text (line {line})", help="save it as UTF-8")
        ) from None


def load_text(text: str, file: str = "<text>") -> Specification:
    """Resolve a text; ``file`` names it in messages and is where imports are relative to."""
    lines, problems = parse(text, file)
    prelude, sources = _prelude()
    sources = {**sources, file: plain_text(text)}
    resolver = Resolver()
    resolver.problems += problems
    resolver.library(list(prelude))
    _import(resolver, lines, file, sources, (str(Path(file).resolve()),))
    cascade = resolver.file(lines, Span(file, 1, 1, 1, 1))
    if resolver.problems:
        raise LanguageError(_ordered(resolver.problems), sources)
    return Specification(cascade, sources, (*resolver.warnings, *advice(cascade)))


def _ordered(problems: list[Diagnostic]) -> list[Diagnostic]:
    """In reading order."""
    return sorted(problems, key=lambda p: (p.span.line, p.span.column) if p.span else (1 << 30, 0))


def _import(
    resolver: Resolver, lines: list[s.Line], file: str, sources: dict[str, str], chain: tuple[str, ...]
) -> None:
    for line in lines:
        if not isinstance(line, s.Import):
            continue
        path = Path(file).parent / line.path
        if str(path.resolve()) in chain:
            resolver.problems.append(
                Diagnostic(f"'{line.path}' imports itself", line.span, "break the cycle")
            )
            continue
        try:
            text = read_source(path)
        except LanguageError as error:
            resolver.problems.append(
                Diagnostic(error.diagnostics[0].message, line.span, "the path is relative to this file")
            )
            continue
        sources[str(path)] = text
        inner, problems = parse(text, str(path))
        resolver.problems += problems
        if any(isinstance(part, s.Attention) for part in inner):
            resolver.problems.append(
                Diagnostic(
                    f"'{line.path}' is an attention, not a library",
                    line.span,
                    "move its definitions to a file of their own",
                )
            )
            continue
        _import(resolver, inner, str(path), sources, (*chain, str(path.resolve())))
        resolver.library(inner)
