"""Messages for people on standard error, in colour only where a person sees them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Literal, TextIO

from apxm.errors import ApxmError, InternalError, LinkError, SourceError, UsageError
from apxm.source import Diagnostic, printable_lines

Style = Literal["error", "warning", "note", "hint", "dim"]
_CODES: dict[Style, str] = {"error": "1;31", "warning": "1;33", "note": "36", "hint": "36", "dim": "2"}


def is_terminal(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that can do more than show plain lines."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def tell(text: str) -> None:
    """Writes to standard error at once."""
    sys.stderr.write(text)
    sys.stderr.flush()


def note(text: str, style: Style | None = None) -> None:
    """Writes one message to standard error; `text` is ours, or already escaped."""
    tell(f"{_paint(text, style)}\n")


def show_error(error: ApxmError) -> None:
    if isinstance(error, SourceError):
        show_diagnostics(error.diagnostics)
        return
    if isinstance(error, LinkError):
        for each in error.missing:
            show_error(each)
        return
    place = f"{printable_lines(error.where)}: " if error.where else ""
    note(f"{_paint('error:', 'error')} {place}{printable_lines(error.message)}")
    if error.hint:
        note(f"{_paint('hint:', 'hint')} {printable_lines(error.hint)}")
    if isinstance(error, InternalError):
        note("This is a defect of A-PXM, not of your program. Please report it with the input.")


def show_warning(text: str) -> None:
    note(f"{_paint('warning:', 'warning')} {printable_lines(text)}")


def show_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    for diagnostic in diagnostics:
        plain = f"{diagnostic.span.place}: {diagnostic.severity}"
        rest = diagnostic.render().removeprefix(plain)
        note(f"{diagnostic.span.place}: {_paint(diagnostic.severity, diagnostic.severity)}{rest}")


def confirm_calls(calls: int, who: str, yes: bool) -> None:
    """Says how many calls, which may cost money, `who` may get, and asks; leaves with status 1 on a no.

    Raises `UsageError` where nobody can be asked.
    """
    note(f"this makes up to {calls:,} calls")
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"up to {calls:,} calls to {who} need a yes, and standard input is no terminal", hint="add --yes"
        )
    tell("go on? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise SystemExit(1)


def _paint(text: str, style: Style | None) -> str:
    if style is None or os.environ.get("NO_COLOR") or not is_terminal(sys.stderr):
        return text
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"
