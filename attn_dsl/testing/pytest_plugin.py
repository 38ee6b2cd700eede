"""A pytest plugin: ``.attn`` files are tests.

    pytest sliding_window.attn          this file
    pytest --attn examples              every file under examples that declares an attention

Each is a property test against the reference with ``--attn-examples`` examples. Nothing heavy is imported
before a file is collected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_DECLARATION = re.compile(r"^\s*attention\s", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The plugin's options."""
    group = parser.getgroup("attn", "attention mechanisms")
    group.addoption("--attn", action="store_true", help="collect .attn files in the given folders")
    group.addoption("--attn-examples", type=int, default=5, metavar="N", help="random inputs a file (5)")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> AttnFile | None:
    """Files named on the command line, and with ``--attn`` those in the folders named there; not
    libraries."""
    if file_path.suffix != ".attn":
        return None
    if not (parent.config.getoption("attn") or parent.session.isinitpath(file_path)):
        return None
    if not _DECLARATION.search(file_path.read_text(encoding="utf-8", errors="replace")):
        return None
    return AttnFile.from_parent(parent, path=file_path)


class AttnFile(pytest.File):
    """A file that declares one attention."""

    def collect(self) -> Iterator[pytest.Item]:
        """One test."""
        yield AttnItem.from_parent(self, name="agrees with its meaning")


class AttnItem(pytest.Item):
    """The property test of one file."""

    def runtest(self) -> None:
        """Compile the file and check it."""
        import attn_dsl
        from attn_dsl.testing import check

        check(attn_dsl.compile(self.path), examples=int(self.config.getoption("attn_examples") or 1))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What the user should read: no traceback of the package's inside."""
        from attn_dsl.errors import AttnError

        if isinstance(excinfo.value, (AttnError, AssertionError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it stands."""
        return self.path, 0, f"{self.path.name}: agrees with its meaning"
