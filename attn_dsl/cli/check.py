"""``attn check``: is a file legal, does it become a kernel, and its gradient?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from attn_dsl.cli.arguments import expand, files_argument, json_option
from attn_dsl.cli.lowering import gradient_obstacle, obstacle, slow_spots
from attn_dsl.cli.output import diagnostic_data, plural, print_diagnostic, say, say_json
from attn_dsl.errors import Diagnostic, LanguageError
from attn_dsl.language.load import Specification, load_file, read_source
from attn_dsl.language.parse import parse
from attn_dsl.language.syntax import CascadeDef, Import, LetLine, MaskLine, ScalarDef

_DEFINITIONS = (CascadeDef, Import, LetLine, MaskLine, ScalarDef)


@dataclass(slots=True)
class Finding:
    """What was found out about one file. ``lowered`` None: not asked, or the file is wrong. ``no_gradient``:
    why what is lowered has no gradient, empty where it has."""

    path: Path
    name: str | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    sources: dict[str, str] = field(default_factory=dict)
    lowered: bool | None = None
    no_gradient: tuple[Diagnostic, ...] = ()

    @property
    def is_wrong(self) -> bool:
        """Whether there is an error; a mechanism that is legal but not lowered is none."""
        return any(d.severity == "error" for d in self.diagnostics)


@click.command("check", short_help="Is a file legal, and does it become a kernel?")
@files_argument
@click.option("--language-only", is_flag=True, help="Do not try to generate kernels.")
@json_option
@click.pass_context
def command(ctx: click.Context, files: tuple[Path, ...], language_only: bool, as_json: bool) -> None:
    """Report what is wrong with .attn files, and whether each becomes a kernel.

    What makes a kernel slower than it need be is a warning: a mask without bounds, a further pass, scattered
    reads.

    A folder stands for every .attn file below it. A file that is legal but cannot be lowered to a kernel yet
    is not wrong: the reference evaluates it, and the statement in the way is named.

    \b
    Examples:
      attn check my.attn
      attn check --json examples/ | jq '.files[] | select(.lowered | not)'

    Exit status: 0 all files are legal; 1 some are not; 2 wrong usage.
    """
    findings = [examine(path, lower=not language_only) for path in expand(files)]
    if as_json:
        say_json({"files": [_data(finding) for finding in findings]})
    else:
        for finding in findings:
            _print(finding)
        if len(findings) > 1:
            _summarise(findings)
    ctx.exit(1 if any(f.is_wrong for f in findings) else 0)


def examine(path: Path, *, lower: bool) -> Finding:
    """Load a file and, unless told otherwise, generate its kernels at example sizes."""
    try:
        lines, problems = parse(read_source(path), str(path))
        if lines and not problems and all(isinstance(line, _DEFINITIONS) for line in lines):
            return Finding(path, "library")
        specification = load_file(path)
    except LanguageError as error:
        return Finding(path, None, error.diagnostics, error.sources)
    finding = Finding(path, specification.cascade.name, specification.warnings, specification.sources)
    return _with_lowering(finding, specification) if lower else finding


def _with_lowering(finding: Finding, specification: Specification) -> Finding:
    found = obstacle(specification.cascade)
    finding.lowered = found is None
    finding.diagnostics += slow_spots(specification.cascade) if found is None else found
    if found is None:
        finding.no_gradient = gradient_obstacle(specification.cascade) or ()
    return finding


def _print(finding: Finding) -> None:
    for diagnostic in finding.diagnostics:
        print_diagnostic(diagnostic, finding.sources)
        say()
    if finding.is_wrong:
        return
    if finding.name == "library":
        say(f"{finding.path}: a library; its definitions are checked where they are used", style="green")
        return
    match finding.lowered:
        case None:
            say(f"{finding.path}: {finding.name} is legal", style="green")
        case True:
            say(f"{finding.path}: {finding.name} is legal and becomes a kernel", style="green")
            for reason in finding.no_gradient:
                say(f"  gradient: no, {reason.summary()}")
        case False:
            say(f"{finding.path}: {finding.name} is legal; not lowered yet, only the reference runs it")


def _summarise(findings: list[Finding]) -> None:
    wrong = sum(f.is_wrong for f in findings)
    parts = [f"{plural(len(findings), 'file')}: {len(findings) - wrong} legal", f"{wrong} wrong"]
    waiting = sum(f.lowered is False for f in findings)
    if waiting:
        parts.append(f"{waiting} not lowered yet")
    say(", ".join(parts), style="bold")


def _data(finding: Finding) -> dict[str, Any]:
    return {
        "file": str(finding.path),
        "name": finding.name,
        "legal": not finding.is_wrong,
        "lowered": finding.lowered,
        "gradient": not finding.no_gradient if finding.lowered else None,
        "no_gradient": [diagnostic_data(d) for d in finding.no_gradient],
        "diagnostics": [diagnostic_data(d) for d in finding.diagnostics],
    }
