"""A fault of ours, told in one sentence: the traceback goes to a file, to be sent with a report."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from attn_dsl.version import __version__

# EX_SOFTWARE of sysexits.h.
INTERNAL_ERROR = 70
_LONGEST = 200


def report_crash(error: BaseException) -> None:
    """Say on standard error what happened, where the traceback lies and how to report it."""
    text = _report(error)
    path = _written(text)
    where = "the traceback stands above" if path is None else f"the traceback is in {_printable(str(path))}"
    if path is None:
        print(text, file=sys.stderr)
    print(
        f"attn: internal error ({_summary(error)}), a fault of attn_dsl {__version__} and not of your file: {where}; "
        "to report it, open an issue of the project with that text and the .attn file",
        file=sys.stderr,
    )


def _summary(error: BaseException) -> str:
    first = next(iter(str(error).splitlines()), "")
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    text = _printable(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _printable(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _report(error: BaseException) -> str:
    head = f"attn_dsl {__version__}, Python {platform.python_version()}, {platform.platform()}"
    # A chain of a thousand frames (RecursionError) is told by its ends.
    frames = traceback.TracebackException.from_exception(error, limit=-60)
    return f"{head}\narguments: {sys.argv[1:]!r}\n\n{''.join(frames.format())}"


def _written(text: str) -> Path | None:
    """The file that now holds the text: of the user's logs, or a temporary one; None where neither can be
    written."""
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in _folders():
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
            return folder / name
        except (OSError, ValueError, RuntimeError):
            continue
    return None


def _folders() -> Iterator[Path]:
    import platformdirs

    yield Path(platformdirs.user_log_dir("attn_dsl", appauthor=False))
    yield Path(tempfile.gettempdir())
